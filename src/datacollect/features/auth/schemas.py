"""Wire models of signing in."""

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class LoginRequest(_Wire):
    email: str = Field(examples=["agent@example.org"])
    password: str = Field(examples=["Correct-Horse-7"])


class RefreshRequest(_Wire):
    refresh_token: str | None = Field(None, description="Left out, a valid access token in the header is renewed.")


class LogoutRequest(_Wire):
    refresh_token: str


class PasswordChange(_Wire):
    current_password: str
    new_password: str


class SignedIn(_Wire):
    token: str = Field(description="Access token for one hour.")
    refresh_token: str = Field(description="Refresh token for 30 days; each one can be used once.")
    user_id: int


class Renewed(_Wire):
    token: str = Field(description="Access token for one hour.")
    refresh_token: str | None = Field(None, description="Only in exchange for a refresh token.")
    user_id: int


class Done(_Wire):
    message: str
