"""Secrets and people's data that can be told wherever they turn up."""

import secrets
from typing import Any

from tests.factories import make_config, make_event, new_id

MARK = "Kanari7-"


class Canaries:
    """Words that nobody else uses. Each has the form of a good password, so that it can stand for anything."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        return self.words.setdefault(name, f"{MARK}{secrets.token_hex(8)}-{name}")

    def also(self, name: str, word: str) -> str:
        """A secret that the hub made, such as a token."""
        self.words[name] = word
        return word

    def found_in(self, said: str | bytes, *allowed: str) -> list[str]:
        """Names of the secrets in it; long ones, such as tokens, by their last part too."""
        heard = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        return [
            name
            for name, word in self.words.items()
            if name not in allowed and (word in heard or word.rpartition(".")[2] in heard)
        ]


def secret_config(canary: Canaries) -> dict[str, Any]:
    return make_config(
        new_id(),
        externalSync={
            "type": "another-adapter",
            "url": f"https://user:{canary['url']}@registry.test/?key={canary['query-key']}",
            "auth": {"bearer": canary["auth"]},
            "adapterConfig": {"clientSecret": canary["adapter"], "nested": [{"key": canary["nested"]}]},
            "extraFields": [{"name": "password", "value": canary["extra"]}],
        },
        authConfigs=[
            {"type": "auth0", "fields": {"authority": "https://idp.test", "client_secret": canary["provider"]}}
        ],
        entityData=[{"name": "individual", "data": [{"id": "s1", "name": canary["seed"], "phone": canary["phone"]}]}],
    )


CONFIG = ("url", "query-key", "auth", "adapter", "nested", "extra", "provider", "seed", "phone")
PEOPLE = ("person", "national-id", "seed", "phone")


def person_event(canary: Canaries, **changes: Any) -> dict[str, Any]:
    data = {"name": canary["person"], "nationalId": canary["national-id"], "entityName": "individual"}
    return make_event(**({"data": data} | changes))
