"""Wire models of citizens' sign-ins."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model, NonEmpty, Wire, examples
from datacollect.kernel.errors import Issue, IssueCode
from datacollect.kernel.jwks import LONGEST_TOKEN

_Short = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class OtpRequest(Wire):
    model_config = examples({"identifier": "+49151123456", "tenantId": "household-registry"})

    identifier: _Short = Field(description="Phone number or e-mail, as the record has it.", examples=["+49151123456"])
    tenant_id: NonEmpty = Field(description="The program.", examples=["household-registry"])


class OtpVerification(OtpRequest):
    model_config = examples({"identifier": "+49151123456", "tenantId": "household-registry", "otp": "012345"})

    otp: str = Field(min_length=6, max_length=6, description="The code that was sent.", examples=["012345"])


class IdVerification(Wire):
    model_config = examples(
        {"nationalId": "N-1990-0042", "dateOfBirth": "1990-04-02", "tenantId": "household-registry"}
    )

    national_id: _Short = Field(examples=["N-1990-0042"])
    date_of_birth: _Short = Field(description="As the record has it: `YYYY-MM-DD`.", examples=["1990-04-02"])
    tenant_id: NonEmpty = Field(description="The program.", examples=["household-registry"])


class OidcExchange(Wire):
    """What the provider has given the app: an ID token, or a code that the hub is to redeem."""

    model_config = Wire.model_config | ConfigDict(
        json_schema_extra={
            "examples": [
                {"tenantId": "household-registry", "idToken": "eyJhbGciOi….eyJpc3MiOi….c2lnbmF0…", "nonce": "dch1.…"},
                {
                    "tenantId": "household-registry",
                    "code": "SplxlOBe-ZQQYbYS6WxSbIA",
                    "redirectUri": "https://portal.example.org/callback",
                    "codeVerifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
                    "nonce": "dch1.…",
                },
            ]
        }
    )

    code: str | None = Field(
        None,
        min_length=1,
        max_length=2048,
        description="The authorisation code, in place of `idToken`: for programs with `oidcConfig.privateKey`.",
    )
    id_token: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TOKEN)] | None = Field(
        None, description="Required without `code`, and not to be sent with it."
    )
    redirect_uri: str | None = Field(
        None,
        max_length=2048,
        description="Required with `code`: what it was asked for with, which has to be the config's.",
    )
    code_verifier: str | None = Field(
        None,
        pattern="^[A-Za-z0-9._~-]{43,128}$",
        description="Of PKCE, if the code was asked for with a challenge.",
    )
    access_token: str | None = Field(
        None,
        max_length=LONGEST_TOKEN,
        description="Looked at only with `idToken` in programs with `oidcConfig.userinfo`, which require it.",
    )
    tenant_id: NonEmpty = Field(description="The program.", examples=["household-registry"])
    nonce: str | None = Field(None, max_length=500, description="What the provider was asked with.")

    def issues(self) -> Iterator[Issue]:
        """What is missing or too much, of members that depend on each other."""
        if self.id_token is None and self.code is None:
            yield Issue(code=IssueCode.MISSING, path=["idToken"], message="Field required")
        if self.id_token is not None and self.code is not None:
            yield Issue(code=IssueCode.VALUE_ERROR, path=["idToken"], message="must not be sent with a code")
        if self.redirect_uri is None and self.code is not None:
            yield Issue(code=IssueCode.MISSING, path=["redirectUri"], message="Field required")


class NonceRequest(Wire):
    model_config = examples({"tenantId": "household-registry"})

    tenant_id: NonEmpty = Field(description="The program.", examples=["household-registry"])


class _Answer(Model):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class OtpSent(_Answer):
    model_config = examples({"success": True, "expiresIn": 300, "resendIn": 60})

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
    model_config = examples({"username": "self-service:+49151123456", "token": "eyJhbGciOi….eyJzY29wZSI6….c2lnbmF0…"})

    username: str = Field(
        description="`self-service:` and what they have signed in with.", examples=["self-service:+49151123456"]
    )
    token: str = Field(description="For one hour, for the self-service routes, about one record.")


class Nonce(_Answer):
    model_config = examples({"nonce": "dch1.…", "expiresIn": 600})

    nonce: str = Field(description="For one sign-in at the program's provider.")
    expires_in: int = Field(description="Seconds.", examples=[600])


class CitizenSignedOut(Model):
    model_config = examples({"status": "success", "message": "Signed out"})

    status: Literal["success"] = "success"
    message: str
