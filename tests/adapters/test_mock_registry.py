"""The registry that ships is strict about what it takes, so that an adapter which works with it works."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from datacollect.testing.mock_registry import MockRegistry
from datacollect.testing.mock_registry.demo import add_demo_people
from datacollect.testing.remote import Answer, Request


class Caller:
    def __init__(self, registry: MockRegistry) -> None:
        self.registry = registry
        login = {"grant_type": "client_credentials", "client_id": "hub", "client_secret": "s3cret"}
        self.token = self("POST", "/oauth/token", login).document["access_token"]

    def __call__(
        self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None, **headers: str
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if hasattr(self, "token"):
            sent.setdefault("authorization", f"Bearer {self.token}")
        raw = b"" if body is None else msgspec.json.encode(body)
        return self.registry.handle(Request(method=method, path=path, query=query or {}, headers=sent, body=raw))


@pytest.fixture
def call() -> Iterator[Caller]:
    with contextlib.closing(MockRegistry(client_id="hub", client_secret="s3cret")) as registry:
        yield Caller(registry)


CARD = {"identifier_type": "card", "identifier_value": "7", "identifier_scheme_id": "urn:cards"}


def test_nothing_is_told_without_a_token(call: Caller) -> None:
    for header in ("", "Bearer x.y.z", call.token, f"Basic {call.token}"):
        assert call("GET", "/v1/persons", authorization=header).status == 401
    assert call("GET", "/health", authorization="").document == {"status": "ok"}
    call.registry.end_tokens()
    assert call("GET", "/v1/persons").status == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"grant_type": "password", "client_id": "hub", "client_secret": "s3cret"}, 400),
        ({"grant_type": "client_credentials", "client_id": "hub", "client_secret": "other"}, 401),
        ({"grant_type": "client_credentials", "client_id": "hub"}, 401),
        ([], 400),
    ],
)
def test_only_the_client_signs_in(call: Caller, body: Any, status: int) -> None:
    assert call("POST", "/oauth/token", body).status == status


@pytest.mark.parametrize(
    ("kind", "body", "fields"),
    [
        ("persons", {"first_name": "Ana"}, ["first_name"]),
        ("persons", {"date_of_birth": "3 Feb 1990"}, ["date_of_birth"]),
        ("persons", {"date_of_birth": "1990-02-30"}, ["date_of_birth"]),
        ("persons", {"given_name": 7, "attributes": []}, ["given_name", "attributes"]),
        ("persons", {"identifiers": [{"identifier_type": "card"}]}, ["identifiers.0"]),
        ("groups", {"group_type": "family"}, ["name"]),
    ],
)
def test_what_it_does_not_know_is_refused(call: Caller, kind: str, body: Any, fields: list[str]) -> None:
    answer = call("POST", f"/v1/{kind}", body)
    assert answer.status == 422
    assert [one["field"] for one in answer.document["errors"]] == fields
    assert call.registry.persons() == call.registry.groups() == []


def test_an_identifier_belongs_to_one_record(call: Caller) -> None:
    assert call("POST", "/v1/persons", {"identifiers": [CARD]}).status == 201
    assert call("POST", "/v1/persons", {"given_name": "Ana", "identifiers": [CARD]}).status == 409
    assert len(call.registry.persons()) == 1
    [person] = call.registry.persons()
    query = {"identifier_scheme_id": "urn:cards", "identifier_value": "7"}
    assert [one["uuid"] for one in call("GET", "/v1/persons", query=query).document["items"]] == [person["uuid"]]
    assert call("GET", "/v1/persons", query=query | {"identifier_value": "8"}).document["items"] == []


def test_a_stale_version_changes_nothing(call: Caller) -> None:
    person = call("POST", "/v1/persons", {"given_name": "Ana"}).document
    path = f"/v1/persons/{person['uuid']}"
    changed = call("PATCH", path, {"family_name": "Cruz"}, if_match=person["updated_at"])
    assert (changed.status, changed.document["given_name"]) == (200, "Ana")
    assert changed.document["updated_at"] > person["updated_at"]
    assert call("PATCH", path, {"family_name": "X"}, if_match=person["updated_at"]).status == 412
    assert call("GET", path).document["family_name"] == "Cruz"
    assert call("PATCH", "/v1/persons/nobody", {}).status == 404


def test_a_key_is_answered_as_the_first_time(call: Caller) -> None:
    first = call("POST", "/v1/persons", {"given_name": "Ana"}, idempotency_key="k")
    again = call("POST", "/v1/persons", {"given_name": "Ana"}, idempotency_key="k")
    assert again.document == first.document
    assert call("POST", "/v1/persons", {"given_name": "Bo"}, idempotency_key="k").status == 422
    assert len(call.registry.persons()) == 1


def test_members_join_once_and_go_with_their_person(call: Caller) -> None:
    ana = call("POST", "/v1/persons", {}).document["uuid"]
    group = call("POST", "/v1/groups", {"name": "Cruz"}).document["uuid"]
    path = f"/v1/groups/{group}/members"
    assert [call("POST", path, {"person_uuid": ana, "role": "head"}).status for _ in range(2)] == [201, 200]
    assert call("POST", path, {"person_uuid": "nobody"}).status == 404
    assert [one["role"] for one in call("GET", f"/v1/groups/{group}").document["memberships"]] == ["head"]
    assert [call("DELETE", f"{path}/{ana}").status for _ in range(2)] == [204, 404]
    call("POST", path, {"person_uuid": ana})
    assert call("DELETE", f"/v1/persons/{ana}").status == 204
    assert call("GET", f"/v1/groups/{group}").document["memberships"] == []
    assert call("GET", f"/v1/persons/{ana}").status == 404
    gone = call("GET", "/v1/persons", query={"include_deleted": "true"}).document["items"]
    assert [one["uuid"] for one in gone if one["deleted_at"]] == [ana]
    assert call("GET", "/v1/persons").document["items"] == []


def test_pages_follow_each_other(call: Caller) -> None:
    made = [call("POST", "/v1/persons", {}).document for _ in range(5)]
    seen, offset = [], "0"
    while offset is not None:
        page = call("GET", "/v1/persons", query={"limit": "2", "offset": str(offset)}).document
        seen += [one["uuid"] for one in page["items"]]
        offset = page["next_offset"]
    assert seen == [one["uuid"] for one in made]
    since = call("GET", "/v1/persons", query={"updated_since": made[3]["updated_at"]}).document
    assert [one["uuid"] for one in since["items"]] == seen[3:]
    assert call("GET", "/v1/persons", query={"updated_since": "yesterday"}).status == 422
    assert call("GET", "/v1/persons", query={"limit": "0"}).status == 422


def test_what_is_in_a_file_is_there_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    registry = MockRegistry(path, client_id="hub", client_secret="s3cret")
    assert add_demo_people(registry, 10) == 10
    token = Caller(registry).token
    registry.close()
    registry = MockRegistry(path, client_id="hub", client_secret="s3cret")
    assert add_demo_people(registry, 12) == 2
    assert len(registry.persons()) == 12
    caller = Caller(registry)
    caller.token = token
    assert caller("GET", "/v1/groups").status == 200
    page = caller("GET", "/", authorization="")
    assert b"12 persons, 4 groups" in page.document
    registry.add_person(given_name="<script>")
    assert b"<script>" not in caller("GET", "/").document
    registry.close()
