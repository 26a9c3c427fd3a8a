"""Mails over real sockets: what arrives, and what is told of what goes wrong."""

import functools
import ssl
from pathlib import Path
from urllib.parse import quote

import pytest

from datacollect.kernel.clock import Millis, SystemClock
from datacollect.kernel.errors import StartupError
from datacollect.messaging import Channel, Message, NotSent
from datacollect.messaging.smtp import SmtpCourier, read_smtp, trusted_certificates
from tests.certificates import Authority, make_authority
from tests.messaging.servers import PASSWORD, USER, WELL, broken_mail_server, mail_server

pytestmark = pytest.mark.anyio

SENDER = "Hub für alle <noreply@hub.test>"
NOT_HERE = "127.0.0.2"
"""Reaches this machine, and is not known as such."""
LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@"


_trusted = functools.cache(trusted_certificates)
"""Once: reading the system's takes longer than sending a mail."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path)


def courier(url: str, *, allow_plain: bool = False, trust: Path | None = None) -> SmtpCourier:
    options = read_smtp(url, sender=SENDER, allow_plain=allow_plain)
    return SmtpCourier(options, SystemClock(), _trusted(trust))


def message(address: str = "ana@people.test", text: str = "738204 est votre code : à bientôt.") -> Message:
    return Message(
        id="m-1",
        channel=Channel.MAIL,
        address=address,
        text=text,
        subject="Votre code\r\nBcc: eve@people.test",
        expires_at=Millis(SystemClock().now() + 300_000),
    )


async def failure(courier: SmtpCourier, sent: Message | None = None, *, seconds: float = 10) -> NotSent:
    with pytest.raises(NotSent) as caught:
        await courier.send(sent or message(), seconds=seconds)
    assert "ana@" not in repr(caught.value) and caught.value.__suppress_context__
    return caught.value


async def test_a_mail_arrives_by_starttls_with_all_that_it_should_have(authority: Authority) -> None:
    context = authority.server("mail.test", address=NOT_HERE)
    async with mail_server(host=NOT_HERE, starttls=context, wants_login=True) as server:
        await courier(f"smtp://{LOGIN}{NOT_HERE}:{server.port}", trust=authority.file()).send(message(), seconds=10)
    (mail,) = server.mails
    assert server.encrypted == [True]
    assert server.recipients == [["ana@people.test"]]
    assert mail["To"] == "ana@people.test"
    assert mail["From"] == "Hub für alle <noreply@hub.test>"
    assert mail["Message-ID"] == "<m-1@hub.test>"
    assert mail["Subject"] == "Votre code Bcc: eve@people.test"
    assert mail["Bcc"] is None
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().strip() == "738204 est votre code : à bientôt."


async def test_a_mail_arrives_by_tls_from_the_first_byte(authority: Authority) -> None:
    async with mail_server(host=NOT_HERE, tls=authority.server("mail.test", address=NOT_HERE)) as server:
        await courier(f"smtps://{NOT_HERE}:{server.port}", trust=authority.file()).send(message(), seconds=10)
    assert len(server.mails) == 1


async def test_on_this_machine_a_mail_goes_without_tls() -> None:
    async with mail_server() as server:
        await courier(f"smtp://localhost:{server.port}").send(message(), seconds=10)
    assert server.encrypted == [False]


async def test_elsewhere_it_does_not_unless_it_may() -> None:
    async with mail_server(host=NOT_HERE) as server:
        url = f"smtp://{NOT_HERE}:{server.port}"
        refused = await failure(courier(url))
        assert (refused.code, refused.retryable, refused.unsure) == ("SMTP_TLS_NOT_OFFERED", True, False)
        assert server.mails == []
        await courier(url, allow_plain=True).send(message(), seconds=10)
    assert len(server.mails) == 1


async def test_a_password_is_not_told_without_tls() -> None:
    script = {**WELL, "EHLO": "250-broken.test\r\n250 AUTH PLAIN LOGIN"}
    async with broken_mail_server(script, host=NOT_HERE) as server:
        refused = await failure(courier(f"smtp://{LOGIN}{NOT_HERE}:{server.port}"))
    assert refused.code == "SMTP_TLS_NOT_OFFERED"
    assert server.commands == ["EHLO"]


async def test_a_certificate_of_nobody_we_trust_is_refused(authority: Authority) -> None:
    context = authority.server("mail.test", address=NOT_HERE)
    async with mail_server(host=NOT_HERE, starttls=context) as server:
        refused = await failure(courier(f"smtp://{NOT_HERE}:{server.port}"))
        assert (refused.code, refused.retryable, refused.unsure) == ("SMTP_TLS_FAILED", True, False)
    async with mail_server(host=NOT_HERE, tls=context) as server:
        refused = await failure(courier(f"smtps://{NOT_HERE}:{server.port}"))
        assert (refused.code, refused.retryable, refused.unsure) == ("SMTP_TLS_FAILED", True, False)


async def test_a_certificate_of_another_name_is_refused(authority: Authority) -> None:
    context = authority.server("other.test", address="127.0.0.3")
    async with mail_server(host=NOT_HERE, starttls=context) as server:
        refused = await failure(courier(f"smtp://{NOT_HERE}:{server.port}", trust=authority.file()))
    assert refused.code == "SMTP_TLS_FAILED"


async def test_a_wrong_password_is_not_tried_again(authority: Authority) -> None:
    context = authority.server("mail.test", address=NOT_HERE)
    async with mail_server(host=NOT_HERE, starttls=context, wants_login=True) as server:
        url = f"smtp://hub%40mail.test:wrong@{NOT_HERE}:{server.port}"
        refused = await failure(courier(url, trust=authority.file()))
    assert (refused.code, refused.retryable) == ("SMTP_LOGIN_REFUSED", False)


async def test_a_server_that_knows_no_logins_is_not_tried_again() -> None:
    async with broken_mail_server(WELL) as server:
        refused = await failure(courier(f"smtp://{LOGIN}localhost:{server.port}"))
    assert (refused.code, refused.retryable) == ("SMTP_REFUSED", False)


@pytest.mark.parametrize(
    ("command", "reply", "code", "retryable"),
    [
        ("RCPT", "450 greylisted, ana@people.test, come back later", "SMTP_TRY_LATER", True),
        ("RCPT", "550 no such user ana@people.test", "SMTP_RECIPIENT_REFUSED", False),
        ("RCPT", "421 too busy", "SMTP_TRY_LATER", True),
        ("DATA", "451 try again later", "SMTP_TRY_LATER", True),
        ("DATA", "554 looks like spam", "SMTP_REFUSED", False),
    ],
)
async def test_what_a_server_answers_says_whether_to_try_again(
    command: str, reply: str, code: str, retryable: bool
) -> None:
    async with mail_server() as server:
        server.replies[command] = [reply]
        refused = await failure(courier(f"smtp://localhost:{server.port}"))
    assert (refused.code, refused.retryable, refused.unsure) == (code, retryable, False)
    assert server.mails == []


async def test_nobody_listening_is_tried_again() -> None:
    async with mail_server() as server:
        pass
    refused = await failure(courier(f"smtp://localhost:{server.port}"))
    assert (refused.code, refused.retryable, refused.unsure) == ("SMTP_UNREACHABLE", True, False)


@pytest.mark.parametrize(
    ("silent_at", "unsure"), [("HELLO", False), ("EHLO", False), ("RCPT", False), ("DATA", True), (".", True)]
)
async def test_a_slow_server_is_given_up_in_time(silent_at: str, unsure: bool) -> None:
    script = {command: reply for command, reply in WELL.items() if command != silent_at}
    async with broken_mail_server(script) as server:
        refused = await failure(courier(f"smtp://localhost:{server.port}"), seconds=0.3)
    assert (refused.code, refused.retryable, refused.unsure) == ("SMTP_TOO_SLOW", True, unsure)


@pytest.mark.parametrize(("ends_at", "unsure"), [("EHLO", False), ("MAIL", False), ("DATA", True), (".", True)])
async def test_a_server_that_hangs_up_may_have_the_mail_once_it_was_sent(ends_at: str, unsure: bool) -> None:
    async with broken_mail_server({**WELL, ends_at: None}) as server:
        refused = await failure(courier(f"smtp://localhost:{server.port}"))
    assert (refused.code, refused.retryable, refused.unsure) == ("SMTP_BROKE_OFF", True, unsure)
    assert server.taken == (ends_at == ".")


async def test_a_server_that_hangs_up_at_once_is_not_there() -> None:
    async with broken_mail_server({"HELLO": None}) as server:
        refused = await failure(courier(f"smtp://localhost:{server.port}"))
    assert (refused.code, refused.retryable, refused.unsure) == ("SMTP_UNREACHABLE", True, False)


async def test_what_is_no_mail_server_may_be_tried_again() -> None:
    async with broken_mail_server({**WELL, ".": "HTTP/1.1 400 Bad Request"}) as server:
        refused = await failure(courier(f"smtp://localhost:{server.port}"))
    assert (refused.code, refused.retryable, refused.unsure) == ("SMTP_BROKE_OFF", True, True)


@pytest.mark.parametrize("goodbye", [None, "500 what?"])
async def test_a_mail_that_was_taken_is_sent_whatever_follows(goodbye: str | None) -> None:
    async with broken_mail_server({**WELL, "QUIT": goodbye}) as server:
        await courier(f"smtp://localhost:{server.port}").send(message(), seconds=10)
    assert server.taken == 1


@pytest.mark.parametrize(
    "address",
    [
        "ana",
        "ana@people.test,eve@people.test",
        "ana@people.test eve@people.test",
        "ana@people.test\r\nBcc: eve@people.test",
        "<ana@people.test>",
        "@people.test",
        "ana@",
        "ana@people..test",
        "a..b@people.test",
        "änä@people.test",
        "\0@people.test",
        "+49151234",
    ],
)
async def test_what_is_not_one_address_is_refused_before_anybody_is_asked(address: str) -> None:
    async with mail_server() as server:
        with pytest.raises(NotSent) as caught:
            await courier(f"smtp://localhost:{server.port}").send(message(address), seconds=10)
        assert (caught.value.code, caught.value.retryable) == ("ADDRESS_INVALID", False)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("url", "sender"),
    [
        ("http://mail.test", SENDER),
        ("mail.test:587", SENDER),
        ("smtp://:587", SENDER),
        ("smtp://mail.test:port", SENDER),
        ("smtp://user@mail.test", SENDER),
        ("smtp://mail.test/?from=a@b.test", SENDER),
        ("smtp://[mail.test", SENDER),
        ("smtp://mail.test", None),
        ("smtp://mail.test", "the hub"),
        ("smtp://mail.test", "a@b.test\nBcc: c@d.test"),
    ],
)
def test_settings_that_cannot_work_stop_the_start_and_are_not_quoted(url: str, sender: str | None) -> None:
    with pytest.raises(StartupError) as refused:
        read_smtp(url, sender=sender, allow_plain=False)
    assert url not in refused.value.message


def test_ports_follow_from_the_scheme_and_passwords_are_unescaped() -> None:
    read = read_smtp("smtps://me%40x:p%3A%2F@mail.test", sender=SENDER, allow_plain=False)
    assert (read.port, read.speaks_tls, read.user, read.password) == (465, True, "me@x", "p:/")
    assert read_smtp("smtp://mail.test", sender=SENDER, allow_plain=False).port == 587
    assert "p:/" not in repr(read) and "me@x" not in repr(read)


def test_a_file_that_holds_no_certificates_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError):
        trusted_certificates(tmp_path / "missing.pem")
    (tmp_path / "odd.pem").write_text("nothing")
    with pytest.raises(StartupError):
        trusted_certificates(tmp_path / "odd.pem")
    assert isinstance(trusted_certificates(None), ssl.SSLContext)
