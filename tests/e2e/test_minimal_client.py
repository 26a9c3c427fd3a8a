"""The example client against a real hub: devices that are late, wrong, cut off and moved end up alike."""

import http.server
import itertools
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from examples.minimal_client import Client, Offline, Stopped, fold
from tests.accounts import bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.conftest import Running, complete_environment, forking, serving
from tests.factories import make_config, new_id
from tests.warm import Warm

DECADE = 3650 * 24 * 60 * 60
PASSWORD = "Correct-Horse-8"
Make = Callable[..., Client]


class Field:
    """A program on the hub, its administrator, and the agents who work in it."""

    def __init__(self, hub: str, admin: httpx2.Client) -> None:
        self.hub, self.admin = hub, admin
        self.program = make_config()["id"]
        assert admin.post("/api/apps", json=make_config(self.program)).status_code == 200

    def agent(self, *areas: str) -> str:
        """The e-mail of a new agent, limited to areas if any are named."""
        account = {"email": f"{new_id('u')}@hub.test", "password": PASSWORD, "role": "USER"} | self._place(*areas)
        answer = self.admin.post("/api/users", json=account)
        assert answer.status_code == 201, answer.text
        return str(account["email"])

    def move(self, email: str, *areas: str) -> None:
        [account] = [one for one in self.admin.get("/api/users").json() if one["email"] == email]
        answer = self.admin.put(
            f"/api/users/{account['id']}", json={"email": email, "role": "USER"} | self._place(*areas)
        )
        assert answer.status_code == 200, answer.text

    def _place(self, *areas: str) -> dict[str, Any]:
        assignment: dict[str, Any] = {"tenantId": self.program, "role": "enumerator"}
        if areas:
            assignment["syncScopeOverride"] = {"areaIds": list(areas)}
        return {"tenantIds": [self.program], "roleAssignments": [assignment]}

    def entities(self) -> dict[str, Any]:
        """What the hub holds."""
        answer = self.admin.get("/api/entities", params={"configId": self.program, "limit": 1000})
        return {one["guid"]: one["data"] for one in answer.json()}

    def events(self) -> list[str]:
        parameters = {"configId": self.program, "limit": 5000}
        return [event["guid"] for event in self.admin.get("/api/sync/pull", params=parameters).json()["events"]]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("hub")
    environment = complete_environment(folder) | {"LOGIN_RATE_LIMIT": "1000"}
    with serving(folder, environment, forking(warm)) as hub:
        yield hub


@pytest.fixture
def field(hub: Running) -> Iterator[Field]:
    with httpx2.Client(base_url=hub.url) as admin:
        answer = admin.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        admin.headers.update(bearer(answer.json()["token"]))
        yield Field(hub.url, admin)


@pytest.fixture
def device(field: Field, tmp_path: Path) -> Iterator[Make]:
    numbers, made = itertools.count(1), []

    def make(email: str | None = None, *, hub: str | None = None, clock: float = 0, signed_in: bool = True) -> Client:
        name = f"tablet-{next(numbers)}"
        client = Client(str(tmp_path / name), hub or field.hub, field.program, name, lambda: time.time() + clock)
        made.append(client)
        if signed_in:
            client.sign_in(email or field.agent(), PASSWORD)
        return client

    yield make
    for client in made:
        client.db.close()


class Relay(http.server.ThreadingHTTPServer):
    """The way to the hub: passes requests on, and does to the next ones what `trouble` says."""

    daemon_threads = True

    def __init__(self, hub: str) -> None:
        super().__init__(("127.0.0.1", 0), _Relaying)
        self.hub = hub
        self.trouble: list[str] = []
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Relaying(http.server.BaseHTTPRequestHandler):
    server: Relay

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(self.path)
        trouble = self.server.trouble.pop(0) if self.server.trouble else ""
        if trouble == "busy":
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(b'{"message": "come again"}')
            return
        request = urllib.request.Request(self.server.hub + self.path, body or None, dict(self.headers))
        try:
            answer = urllib.request.urlopen(request, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            said = answer.read()
        if trouble == "lose the answer":
            return
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said if trouble != "cut the answer" else said[: len(said) // 2])

    do_GET = do_POST = _pass_on

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def relay_to(hub: str) -> Iterator[Relay]:
    with Relay(hub) as relay:
        thread = threading.Thread(target=relay.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()


def person(name: str, **data: Any) -> dict[str, Any]:
    return {"entityName": "individual", "name": name, **data}


def sync_until_even(*clients: Client) -> None:
    """Everybody twice: the second time brings what others pushed after one's first."""
    for client in clients * 2:
        client.push()
        client.pull()


def test_devices_that_worked_offline_end_up_alike_whatever_their_clocks_say(field: Field, device: Make) -> None:
    # A few seconds are nothing that a device could tell from the way to the hub.
    right, late = device(clock=-3), device(clock=3)
    ahead, behind = device(clock=DECADE, signed_in=False), device(clock=-DECADE, signed_in=False)
    right.record("create-individual", "p-1", person("Ana", age=30))
    right.record("create-individual", "p-2", person("Leo", age=40))
    right.record("create-individual", "p-3", person("Mia"))
    sync_until_even(right)
    for number, client in enumerate((ahead, behind)):
        client.record("update-individual", "p-1", {f"field{number}": number, "age": 50 + number})
        client.record("update-individual", "p-2", {"name": f"Leo {number}"})
        client.record("create-individual", f"own-{number}", person("Own"))
        assert client.entities()[f"own-{number}"]["name"] == "Own"
        client.sign_in(field.agent(), PASSWORD)
    behind.record("update-individual", "p-1", {"sex": "f"})  # by now it knows how far it is off
    sync_until_even(ahead, behind)
    # Later than what the device said that was ahead, as its time was set right when it was sent.
    late.record("update-individual", "p-1", {"age": 60})
    right.record("delete-entity", "p-3", {"id": "p-3"})
    sync_until_even(right, late, ahead, behind)
    assert right.entities() == late.entities() == ahead.entities() == behind.entities() == field.entities()
    assert right.entities()["p-1"] == person("Ana", age=60, sex="f", field0=0, field1=1)
    # The edit from the device that was behind came last and is older than what Leo was made with.
    assert right.entities()["p-2"] == person("Leo 0", age=40)
    assert set(right.entities()) == {"p-1", "p-2", "own-0", "own-1"}


@pytest.mark.parametrize("trouble", ["lose the answer", "cut the answer"])
def test_a_push_whose_answer_is_lost_is_sent_again_and_counts_once(field: Field, device: Make, trouble: str) -> None:
    with relay_to(field.hub) as relay:
        client, other = device(hub=relay.url), device()
        guids = [client.record("create-individual", f"p-{n}", person("Ana", n=n)) for n in range(3)]
        relay.trouble = [trouble]
        with pytest.raises(Offline):
            client.push()
        assert field.events() == guids
        sync_until_even(client, other)
        assert field.events() == guids
        assert client.entities() == other.entities() == field.entities()
        assert client.db.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
        # A page that is lost is asked for again; what was taken is not.
        other.record("create-individual", "later", person("Mia"))
        other.push()
        relay.trouble = [trouble]
        with pytest.raises(Offline):
            client.pull()
        client.pull()
        assert client.entities() == field.entities()
        assert relay.asked[-1] == relay.asked[-2] and guids[-1] in relay.asked[-1]


def test_what_the_hub_refuses_is_kept_aside_and_holds_nothing_up(field: Field, device: Make) -> None:
    client = device()
    client.record("create-individual", "p-1", person("Ana"))
    unknown = client.record("invented-type", "p-1", {"x": 1})
    client.record("update-individual", "p-1", {"age": 3})
    unreadable = client.record("", "", person("Nobody"))
    cut = client.record("create-individual", "p-3", person("Zo\ud83d"))
    client.record("create-individual", "p-2", person("Leo"))
    sync_until_even(client)
    refused = {event["guid"]: verdict for event, verdict in client.refused()}
    assert set(refused) == {unknown, unreadable, cut}
    assert refused[unknown]["code"] == "UNKNOWN_EVENT_TYPE"
    assert client.entities() == field.entities() == {"p-1": person("Ana", age=3), "p-2": person("Leo")}


def test_a_token_that_has_run_out_is_renewed_and_a_busy_hub_is_asked_again(field: Field, device: Make) -> None:
    with relay_to(field.hub) as relay:
        client = device(hub=relay.url)
        client.record("create-individual", "p-1", person("Ana"))
        client._keep(token="has run out")
        # The hub has renewed it, and the device does not hear of it: for a minute it may ask once more.
        relay.trouble = ["", "lose the answer"]
        with pytest.raises(Offline):
            client.push()
        relay.trouble = ["busy", "busy", "", "busy"]
        client.push()
        client.pull()
        assert client.entities() == field.entities() == {"p-1": person("Ana")}
        relay.trouble = ["busy"] * 5
        with pytest.raises(Offline, match="come again"):
            client.pull()


def test_without_access_a_device_stops_and_keeps_its_work(field: Field, device: Make) -> None:
    client = device()
    client.record("create-individual", "p-1", person("Ana"))
    client.program = "another-program"
    with pytest.raises(Stopped, match="TENANT_ACCESS_DENIED"):
        client.push()
    client.program = field.program
    client._keep(token="has run out", refresh="so has this")
    with pytest.raises(Stopped, match="REFRESH_TOKEN_INVALID"):
        client.push()
    client.sign_in(field.agent(), PASSWORD)
    client.push()
    assert field.entities() == {"p-1": person("Ana")}


def test_a_device_that_is_moved_gives_up_one_area_and_gets_the_other_whole(field: Field, device: Make) -> None:
    everything = device()
    members = [{"guid": "m-1", "entityName": "individual", "name": "Mia", "area_id": "north"}]
    everything.record("create-group", "g-1", {"name": "Home", "area_id": "north", "members": members})
    everything.record("create-individual", "s-1", person("Sol", area_id="south"))
    everything.record("update-individual", "s-1", {"age": 7})
    sync_until_even(everything)

    email = field.agent("north")
    limited = device(email)
    outside = limited.record("create-individual", "s-2", person("Out", area_id="south"))
    limited.record("create-individual", "n-2", person("Nia", area_id="north"))
    sync_until_even(limited)
    assert set(limited.entities()) == {"g-1", "m-1", "n-2"}
    assert limited.entities() == {guid: data for guid, data in field.entities().items() if data["area_id"] == "north"}
    assert [(event["guid"], verdict["code"]) for event, verdict in limited.refused()] == [(outside, "OUT_OF_SCOPE")]

    limited.record("create-individual", "s-3", person("Sam", area_id="south"))  # offline, knowing of the move
    field.move(email, "south")
    sync_until_even(limited)
    assert set(limited.entities()) == {"s-1", "s-3"}
    everything.record("update-individual", "m-1", {"area_id": "south"})
    sync_until_even(everything, limited, everything)
    assert limited.entities() == {guid: data for guid, data in field.entities().items() if data["area_id"] == "south"}
    assert everything.entities() == field.entities()


def test_what_was_recorded_before_a_snapshot_and_comes_behind_it_counts_on_a_limited_device(
    field: Field, device: Make
) -> None:
    """A snapshot had the time of its telling: what was older than that, and newer than what it told, lost for good."""
    everything, late, limited = device(), device(), device(field.agent("north"))
    for guid in ("ana", "leo"):
        everything.record("create-individual", guid, person(guid, area_id="north", phone="old"))
    sync_until_even(everything)
    late.record("update-individual", "ana", {"phone": "new"})
    late.record("delete-entity", "leo", {"id": "leo"})
    sync_until_even(limited)
    assert {guid: data["phone"] for guid, data in limited.entities().items()} == {"ana": "old", "leo": "old"}
    sync_until_even(late, limited)
    assert limited.entities() == field.entities() == {"ana": person("ana", area_id="north", phone="new")}


def test_who_was_deleted_with_their_group_comes_back_to_a_limited_device_by_a_write_from_before_it_was_told(
    field: Field, device: Make
) -> None:
    """Their end had the time of its telling: what brought them back here was too old for the device."""
    everything, late, limited = device(), device(), device(field.agent("north"))
    mia = {"guid": "mia", "entityName": "individual"}
    everything.record("create-individual", "mia", person("Mia", area_id="north", age=3))
    everything.record("create-group", "home", {"name": "Home", "area_id": "south", "members": [mia]})
    sync_until_even(everything, limited)
    everything.record("delete-entity", "home", {"id": "home"})
    late.record("update-individual", "mia", person("Mia", area_id="north", phone="1"))
    sync_until_even(everything, limited)
    assert limited.entities() == {}
    sync_until_even(late, limited)
    assert limited.entities() == field.entities() == {"mia": person("Mia", area_id="north", phone="1")}


def test_who_joins_a_group_is_there_too_and_who_was_known_stays_as_known(field: Field, device: Make) -> None:
    one, other = device(), device()
    one.record("create-group", "g-1", {"entityName": "household", "name": "G"})
    one.record("create-individual", "m-1", {"entityName": "individual", "name": "As registered"})
    joining = [{"guid": "m-1", "name": "As the group says"}, {"guid": "m-2", "entityName": "individual", "name": "New"}]
    one.record("add-member", "g-1", {"members": joining})
    sync_until_even(one, other)
    assert {guid: data["name"] for guid, data in other.entities().items()} == {
        "g-1": "G",
        "m-1": "As registered",
        "m-2": "New",
    }
    assert one.entities() == other.entities() == field.entities()


def test_who_is_decided_to_be_a_duplicate_is_gone_from_every_device(field: Field, device: Make) -> None:
    one, other = device(), device()
    for guid in ("p", "q"):
        one.record("create-individual", guid, person("Ana", area_id="north"))
    told = {"duplicates": [{"entityGuid": "p", "duplicateGuid": "q"}], "shouldDelete": True}
    one.record("resolve-duplicate", "p", told)
    sync_until_even(one, other)
    assert set(one.entities()) == set(other.entities()) == set(field.entities()) == {"q"}


def test_a_group_that_was_deleted_takes_no_new_member_from_before_and_known_ones_are_written(
    field: Field, device: Make
) -> None:
    one, late = device(), device(clock=-1)
    one.record("create-group", "home", {"name": "Home", "area_id": "north"})
    one.record("create-individual", "known", person("Old", area_id="north"))
    sync_until_even(one, late)
    members = [{"guid": "known", "phone": "7"}, {"guid": "new", "name": "Baby"}]
    late.record("update-group", "home", {"members": members})  # offline
    one.record("delete-entity", "home", {"id": "home"})
    sync_until_even(one)
    sync_until_even(late, one)
    assert one.entities() == field.entities() == {"known": person("Old", area_id="north", phone="7")}


def test_whom_a_device_does_not_hold_it_takes_from_a_snapshot_whatever_has_ended() -> None:
    state: dict[str, Any] = {}
    of = {"entityGuid": "p", "userId": "agent-7", "data": {"why": "moved"}}
    fold(state, {**of, "type": "delete-entity", "timestamp": "2026-01-01T10:00:00.000Z"})
    told = {**of, "type": "create-individual", "data": {"name": "Ana"}, "timestamp": "2026-01-01T08:00:00.000Z"}
    fold(state, told)
    assert not state["p"]["fields"]
    fold(state, told | {"userId": "system"})
    assert state["p"]["fields"]["name"] == [told["timestamp"], "Ana"]


def test_it_is_small_and_needs_nothing_but_python() -> None:
    text = (Path(__file__).parents[2] / "examples" / "minimal_client.py").read_text()
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 160
