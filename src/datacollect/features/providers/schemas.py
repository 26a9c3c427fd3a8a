"""Wire models of signing in by a provider."""

from pydantic import Field

from datacollect.http.wire import NonEmpty, Wire, examples
from datacollect.kernel.jwks import LONGEST_TOKEN


class ProviderLogin(Wire):
    model_config = examples({"provider": "keycloak", "token": "eyJhbGciOi….eyJpc3MiOi….c2lnbmF0…"})

    provider: NonEmpty = Field(description="Its `name` in the list of providers.")
    token: NonEmpty = Field(max_length=LONGEST_TOKEN, description="The ID token the provider gave the page.")
    nonce: str | None = Field(None, description="The one the page sent to the provider, if it did.")


class LoginProvider(Wire):
    name: str
    type: str
    authority: str
    client_id: str


class LoginProviders(Wire):
    model_config = examples(
        {
            "providers": [
                {
                    "name": "keycloak",
                    "type": "keycloak",
                    "authority": "https://login.example.org/realms/staff",
                    "clientId": "datacollect",
                }
            ]
        }
    )

    providers: list[LoginProvider]


class ProviderSignedIn(Wire):
    model_config = examples(
        {
            "token": "eyJhbGciOi….eyJzdWIiOi….c2lnbmF0…",
            "refreshToken": "eyJhbGciOi….eyJ0eXAiOi….bmV3bmV3…",
            "userId": 12,
        }
    )

    token: str
    refresh_token: str
    user_id: int
