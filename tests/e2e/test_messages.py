"""Messages as processes of their own send them: by commands, killed in the middle, and two at once."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from datacollect.assembly import create_hub
from datacollect.features.messages.model import Status
from datacollect.http.hub import Hub
from datacollect.testing.remote import Instead, Late, RemoteSystem
from tests.conftest import JWT_SECRET, make_settings
from tests.e2e.conftest import Run, Serve
from tests.e2e.installation import refused, told
from tests.features.messages.outbox import CODE, MAIL, PHONE, Box, Gateway, self_service
from tests.jobs.elsewhere import until
from tests.messaging.servers import mail_server

pytestmark = pytest.mark.anyio

PROGRAM = "camp"
MANY = 60


@pytest.fixture
def gateway(environment: dict[str, str]) -> Iterator[tuple[RemoteSystem, Gateway]]:
    """A gateway that the settings name."""
    taken = Gateway()
    with RemoteSystem(taken) as system:
        environment |= {"SMS_GATEWAY_URL": system.url, "ALLOWED_PRIVATE_HOSTS": "127.0.0.1"}
        yield system, taken


def make_camp(run: Run) -> None:
    config = {"id": PROGRAM, "name": "Camp", "entityForms": [], "selfService": self_service(languages=["fr"])}
    told(run, "program", "create", "-", stdin=json.dumps(config))


@contextlib.asynccontextmanager
async def outbox(environment: dict[str, str]) -> AsyncIterator[Box]:
    """The program's outbox, as another process fills it."""
    assert environment["JWT_SECRET"] == JWT_SECRET
    settings = make_settings(Path(environment["DATA_DIR"]), environment.get("DATABASE_URL"), JOBS_AT_ONCE=0)
    hub: Hub = create_hub(settings)
    try:
        yield Box(hub, PROGRAM)
    finally:
        hub.duplicates.stop()
        await hub.db.close()


async def until_ended(box: Box, *ids: str) -> None:
    async def have_ended() -> bool:
        found = [await box.look(message_id) for message_id in ids]
        return not any(message.status.is_open for message, _ in found)

    await until(have_ended)


@pytest.mark.usefixtures("migrated")
async def test_a_test_message_says_whether_the_hub_can_send(
    run: Run, gateway: tuple[RemoteSystem, Gateway], environment: dict[str, str]
) -> None:
    system, taken = gateway
    make_camp(run)
    sent = told(run, "messages", "test", PROGRAM, PHONE)
    assert (sent["status"], sent["to"], sent["purpose"]) == ("delivered", "+49…12", "test")
    assert taken.taken[0].json()["text"] == "Ceci est un message d'essai de Camp. Il n'y a rien à faire."
    system.faults.add(Instead(401))
    failed = run("messages", "test", PROGRAM, PHONE)
    assert failed.returncode == 1 and "refused (GATEWAY_LOGIN_REFUSED)" in failed.stderr
    assert "NO_COURIER" in run("messages", "test", PROGRAM, MAIL).stderr
    listed = told(run, "messages", "list", PROGRAM)["messages"]
    assert sorted(message["status"] for message in listed) == ["delivered", "refused", "refused"]
    assert len(told(run, "messages", "list", PROGRAM, "--status", "refused")["messages"]) == 2
    table = run("messages", "list", PROGRAM).stdout
    assert "+49…12" in table and "a…@…" in table
    assert PHONE not in table + json.dumps(listed) and MAIL not in table + json.dumps(listed)
    assert refused(run, "messages", "test", "nobody", PHONE)["code"] == "PROGRAM_NOT_FOUND"


async def test_a_test_mail_goes_through_the_mail_server_that_the_settings_name(
    run: Run, migrated: str | None, environment: dict[str, str]
) -> None:
    del migrated
    make_camp(run)
    async with mail_server() as server:
        mail = {"SMTP_URL": f"smtp://localhost:{server.port}", "SMTP_FROM": "Camp <noreply@hub.test>"}
        command = ("messages", "test", PROGRAM, MAIL, "--language", "en")
        answer = await asyncio.to_thread(run, *command, **mail)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.startswith("Delivered by mail to a…@… as ")
    (received,) = server.mails
    assert (received["To"], received["Subject"]) == (MAIL, "A test message")


@pytest.mark.usefixtures("migrated")
def test_settings_that_cannot_work_are_told_in_one_line(run: Run) -> None:
    answer = run("messages", "list", PROGRAM, SMTP_URL="smtp://u:s3cret@mail.test")
    assert answer.returncode == 1
    assert answer.stderr == "datacollect: SMTP_FROM must be set to the address that mails are from\n"


@pytest.mark.usefixtures("migrated")
async def test_a_hub_killed_while_it_sends_sends_once_more_and_then_it_is_done(
    serve: Serve, run: Run, gateway: tuple[RemoteSystem, Gateway], environment: dict[str, str], tmp_path: Path
) -> None:
    system, taken = gateway
    make_camp(run)
    async with outbox(environment) as box:
        system.faults.add(Late(60), times=None)
        # Of this one only: what the next one does is not to be taken from it on a busy machine.
        with serve(JOB_LEASE="3") as hub:
            message_id = await box.put()

            async def has_arrived() -> bool:
                return len(taken.taken) == 1

            await until(has_arrived)
            hub.process.kill()
            hub.process.wait()
        assert (await box.look(message_id))[0].status is Status.SENDING
        system.faults.clear()
        with serve():
            await until_ended(box, message_id)
        message, content = await box.look(message_id)
    assert (message.status, message.attempts, content) == (Status.DELIVERED, 2, None)
    assert taken.ids == [message_id] * 2
    logs = _logs(tmp_path)
    assert "message.handled" in logs
    assert CODE not in logs and PHONE not in logs


def _logs(folder: Path) -> str:
    return "".join(file.read_text() for file in folder.glob("serve-*.log"))


async def test_two_processes_send_each_message_once(
    serve: Serve,
    run: Run,
    gateway: tuple[RemoteSystem, Gateway],
    environment: dict[str, str],
    postgres_url: str,
) -> None:
    environment["DATABASE_URL"] = postgres_url
    system, taken = gateway
    make_camp(run)
    # Long enough for both to have some.
    system.faults.add(Late(0.2), times=None)
    async with outbox(environment) as box:
        with serve(), serve():
            ids = [await box.put() for _ in range(MANY)]
            await until_ended(box, *ids)
        found = [(await box.look(message_id))[0] for message_id in ids]
    assert {(message.status, message.attempts) for message in found} == {(Status.DELIVERED, 1)}
    assert sorted(taken.ids) == sorted(ids)
