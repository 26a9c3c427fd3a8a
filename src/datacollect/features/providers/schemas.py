"""Wire models of signing in by a provider."""

from pydantic import Field

from datacollect.http.wire import NonEmpty, Wire
from datacollect.kernel.jwks import LONGEST_TOKEN


class ProviderLogin(Wire):
    provider: NonEmpty = Field(description="Its `name` in the list of providers.")
    token: NonEmpty = Field(max_length=LONGEST_TOKEN, description="The ID token the provider gave the page.")
    nonce: str | None = Field(None, description="The one the page sent to the provider, if it did.")


class LoginProvider(Wire):
    name: str
    type: str
    authority: str
    client_id: str


class LoginProviders(Wire):
    providers: list[LoginProvider]


class ProviderSignedIn(Wire):
    token: str
    refresh_token: str
    user_id: int
