"""Wire models of citizens' sign-ins."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from datacollect.http.wire import NonEmpty, Wire
from datacollect.kernel.jwks import LONGEST_TOKEN

_Short = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class OtpRequest(Wire):
    identifier: _Short = Field(description="Phone number or e-mail, as the record has it.", examples=["+49151123456"])
    tenant_id: NonEmpty = Field(description="The program.", examples=["household-registry"])


class OtpVerification(OtpRequest):
    otp: str = Field(min_length=6, max_length=6, description="The code that was sent.", examples=["012345"])


class IdVerification(Wire):
    national_id: _Short = Field(examples=["N-1990-0042"])
    date_of_birth: _Short = Field(description="As the record has it: `YYYY-MM-DD`.", examples=["1990-04-02"])
    tenant_id: NonEmpty = Field(description="The program.", examples=["household-registry"])


class OidcExchange(Wire):
    id_token: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TOKEN)]
    access_token: str | None = Field(None, max_length=LONGEST_TOKEN, description="Not looked at.")
    tenant_id: NonEmpty = Field(description="The program.", examples=["household-registry"])
    nonce: str | None = Field(None, max_length=500, description="What the ID token was asked for with.")


class NonceRequest(Wire):
    tenant_id: NonEmpty = Field(description="The program.", examples=["household-registry"])


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class OtpSent(_Answer):
    success: Literal[True] = True
    expires_in: int = Field(description="Seconds for which the code is good that was sent last.", examples=[300])
    resend_in: int = Field(description="Seconds until asking again sends another code.", examples=[60])
    dev_code: str | None = Field(
        None,
        description="The code itself: only on hubs for development, with `OTP_EXPOSE_DEV_CODE`.",
        exclude_if=lambda value: value is None,
        examples=["012345"],
    )


class CitizenSignedIn(_Answer):
    username: str = Field(
        description="`self-service:` and what they have signed in with.", examples=["self-service:+49151123456"]
    )
    token: str = Field(description="For one hour, for the self-service routes, about one record.")


class Nonce(_Answer):
    nonce: str = Field(description="For one sign-in at the program's provider.")
    expires_in: int = Field(description="Seconds.", examples=[600])


class Done(BaseModel):
    status: Literal["success"] = "success"
    message: str
