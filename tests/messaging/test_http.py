"""Gateways and webhooks over real sockets: what they get, how it is signed, and what is told of what goes wrong."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from datacollect.kernel.clock import Millis, SystemClock, format_timestamp
from datacollect.kernel.errors import StartupError
from datacollect.messaging import Channel, Message, NotSent
from datacollect.messaging.http import GatewayCourier, GatewayOptions, WebhookCourier, read_gateway
from datacollect.messaging.signing import signature_headers
from datacollect.outgoing import GuardedClient, read_rules
from datacollect.testing.remote import Answer, DropAfter, DropBefore, Instead, Late, RemoteSystem, Request

pytestmark = pytest.mark.anyio

SECRET = "a secret of the gateway and the hub"
TEMPLATE = '{"to":"{to}","text":"{text}","id":"{id}"}'


@pytest.fixture
async def client() -> AsyncIterator[GuardedClient]:
    client = GuardedClient(read_rules(allow_private=False, allowed="127.0.0.1"))
    yield client
    await client.aclose()


def options(url: str, **changes: Any) -> GatewayOptions:
    given: dict[str, Any] = {
        "body": TEMPLATE,
        "format": "json",
        "headers": None,
        "token": None,
        "user": None,
        "password": None,
        "secret": SECRET,
    }
    return read_gateway(url, **(given | changes))


def gateway(client: GuardedClient, url: str, **changes: Any) -> GatewayCourier:
    return GatewayCourier(options(url, **changes), client, SystemClock())


def message(**changes: Any) -> Message:
    values: dict[str, Any] = {
        "id": "m-1",
        "channel": Channel.SMS,
        "address": "+49 (151) 234-56.12",
        "text": '738204 {id} "}]',
        "subject": "",
        "expires_at": Millis(SystemClock().now() + 300_000),
    }
    return Message(**(values | changes))


class Gateway:
    """Takes what is signed, as the documentation tells its makers to."""

    def __init__(self, secret: str = SECRET) -> None:
        self.secret = secret
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        headers = request.headers
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
        digest = hmac.new(self.secret.encode(), signed, hashlib.sha256).digest()
        expected = f"v1,{base64.b64encode(digest).decode()}"
        is_fresh = abs(int(headers["webhook-timestamp"]) - SystemClock().now() // 1000) < 60
        return Answer(202 if is_fresh and hmac.compare_digest(headers["webhook-signature"], expected) else 401)


async def failure(client: GuardedClient, system: RemoteSystem, *, seconds: float = 10) -> tuple[str, bool, bool]:
    with pytest.raises(NotSent) as caught:
        await gateway(client, system.url).send(message(), seconds=seconds)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value.code, caught.value.retryable, caught.value.unsure


async def test_a_gateway_gets_the_number_and_the_text_signed(client: GuardedClient) -> None:
    fake = Gateway()
    with RemoteSystem(fake) as system:
        await gateway(client, system.url).send(message(), seconds=10)
    (request,) = fake.requests
    assert request.json() == {"to": "+491512345612", "text": '738204 {id} "}]', "id": "m-1"}
    assert request.headers["idempotency-key"] == "m-1"
    assert request.headers["content-type"] == "application/json"


async def test_a_gateway_refuses_what_somebody_else_has_signed(client: GuardedClient) -> None:
    with RemoteSystem(Gateway("another secret")) as system:
        assert await failure(client, system) == ("GATEWAY_LOGIN_REFUSED", False, False)


async def test_a_form_is_filled_in_for_gateways_that_want_one(client: GuardedClient) -> None:
    fake = Gateway()
    template = '{"msisdn":"{to}","message":"[{text}]","until":"{expires}","from":"Hub & Co"}'
    sent = message()
    with RemoteSystem(fake) as system:
        await gateway(client, system.url, body=template, format="form").send(sent, seconds=10)
    (request,) = fake.requests
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.body.decode(), strict_parsing=True) == {
        "msisdn": ["+491512345612"],
        "message": ['[738204 {id} "}]]'],
        "until": [format_timestamp(sent.expires_at)],
        "from": ["Hub & Co"],
    }


async def test_a_template_may_have_any_shape_and_keeps_it(client: GuardedClient) -> None:
    fake = Gateway()
    template = '{"messages":[{"to":["{to}"],"body":{"text":"{text}"},"flash":false,"ttl":300}]}'
    with RemoteSystem(fake) as system:
        await gateway(client, system.url, body=template).send(message(text='","to":"eve'), seconds=10)
    sent = {"to": ["+491512345612"], "body": {"text": '","to":"eve'}, "flash": False, "ttl": 300}
    assert fake.requests[0].json() == {"messages": [sent]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"token": "t0ken"}, {"authorization": "Bearer t0ken"}),
        ({"user": "hub", "password": "pä:ss"}, {"authorization": "Basic aHViOnDDpDpzcw=="}),
        ({"headers": '{"X-Api-Key":"k3y","Accept":"text/plain"}'}, {"x-api-key": "k3y", "accept": "text/plain"}),
    ],
)
async def test_the_hub_signs_in_the_way_the_gateway_wants(
    client: GuardedClient, changes: dict[str, Any], expected: dict[str, str]
) -> None:
    fake = Gateway()
    with RemoteSystem(fake) as system:
        await gateway(client, system.url, **changes).send(message(), seconds=10)
    assert expected.items() <= dict(fake.requests[0].headers).items()


async def test_without_a_secret_nothing_is_signed(client: GuardedClient) -> None:
    requests: list[Request] = []
    with RemoteSystem(lambda request: (requests.append(request), Answer())[1]) as system:
        await gateway(client, system.url, secret=None).send(message(), seconds=10)
    assert "webhook-signature" not in requests[0].headers


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, ("GATEWAY_REFUSED", False, False)),
        (401, ("GATEWAY_LOGIN_REFUSED", False, False)),
        (403, ("GATEWAY_LOGIN_REFUSED", False, False)),
        (404, ("GATEWAY_REFUSED", False, False)),
        (408, ("GATEWAY_BUSY", True, False)),
        (429, ("GATEWAY_BUSY", True, False)),
        (503, ("GATEWAY_BUSY", True, False)),
        (500, ("GATEWAY_FAILED", True, True)),
        (502, ("GATEWAY_FAILED", True, True)),
        (302, ("GATEWAY_REFUSED", False, False)),
    ],
)
async def test_the_status_says_whether_to_try_again(
    client: GuardedClient, status: int, expected: tuple[str, bool, bool]
) -> None:
    with RemoteSystem(lambda _: Answer(status, {"error": "+491512345612 is unknown"})) as system:
        assert await failure(client, system) == expected


async def test_a_gateway_may_say_when_to_come_back(client: GuardedClient) -> None:
    with RemoteSystem(lambda _: Answer(429, headers={"retry-after": "17"})) as system:
        with pytest.raises(NotSent) as caught:
            await gateway(client, system.url).send(message(), seconds=10)
    assert caught.value.retry_after_seconds == 17


async def test_a_redirect_is_not_followed_with_a_code(client: GuardedClient) -> None:
    with RemoteSystem(lambda _: Answer(307, headers={"location": "http://127.0.0.1:1/"})) as system:
        assert await failure(client, system) == ("GATEWAY_REDIRECTS", False, False)


@pytest.mark.parametrize("fault", [DropBefore(), DropAfter()])
async def test_a_gateway_that_hangs_up_may_have_sent_it(client: GuardedClient, fault: DropBefore | DropAfter) -> None:
    with RemoteSystem(Gateway()) as system:
        system.faults.add(fault)
        code, retryable, unsure = await failure(client, system)
    assert (code, retryable, unsure) == ("GATEWAY_BROKE_OFF", True, True)


async def test_a_slow_gateway_may_have_sent_it(client: GuardedClient) -> None:
    with RemoteSystem(Gateway()) as system:
        system.faults.add(Late(30))
        assert await failure(client, system, seconds=0.3) == ("GATEWAY_TOO_SLOW", True, True)


async def test_nobody_listening_has_sent_nothing(client: GuardedClient) -> None:
    with RemoteSystem(Gateway()) as system:
        pass
    assert await failure(client, system) == ("GATEWAY_UNREACHABLE", True, False)


async def test_a_gateway_inside_is_not_called_unless_it_is_allowed() -> None:
    fake = Gateway()
    strict = GuardedClient(read_rules(allow_private=False, allowed=""))
    with RemoteSystem(fake) as system:
        assert await failure(strict, system) == ("GATEWAY_ADDRESS_REFUSED", False, False)
    assert fake.requests == []
    await strict.aclose()


@pytest.mark.parametrize("address", ["12", "call me", "ana@people.test", "+49151+2", "+", "1" * 21, "+49151\r\n1"])
async def test_what_is_no_number_is_refused_before_anybody_is_asked(client: GuardedClient, address: str) -> None:
    fake = Gateway()
    with RemoteSystem(fake) as system:
        with pytest.raises(NotSent) as caught:
            await gateway(client, system.url).send(message(address=address), seconds=10)
    assert (caught.value.code, caught.value.retryable) == ("ADDRESS_INVALID", False)
    assert fake.requests == []


async def test_a_webhook_gets_the_document_signed_with_its_own_secret(client: GuardedClient) -> None:
    fake, body = Gateway(), msgspec.json.encode({"event": "review-decided", "review": "r-1"}).decode()
    with RemoteSystem(fake) as system:
        sent = message(channel=Channel.WEBHOOK, address=f"{system.url}/hook", text=body, secret=SECRET)
        await WebhookCourier(client, SystemClock()).send(sent, seconds=10)
    assert fake.requests[0].json() == {"event": "review-decided", "review": "r-1"}
    with RemoteSystem(fake) as system:
        system.faults.add(Instead(410))
        sent = message(channel=Channel.WEBHOOK, address=system.url, text=body, secret=SECRET)
        with pytest.raises(NotSent) as caught:
            await WebhookCourier(client, SystemClock()).send(sent, seconds=10)
    assert caught.value.code == "GATEWAY_REFUSED"


def test_the_signature_is_the_standards() -> None:
    # The example of https://github.com/standard-webhooks/standard-webhooks.
    body = b'{"test": 2432232314}'
    headers = signature_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        body,
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        now=Millis(1614265330_999),
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_secret_that_only_looks_encoded_is_taken_as_it_is() -> None:
    told = signature_headers("m", b"", secret="whsec_%%%", now=Millis(0))["webhook-signature"]
    expected = hmac.new(b"whsec_%%%", b"m.0.", hashlib.sha256).digest()
    assert told == f"v1,{base64.b64encode(expected).decode()}"


@pytest.mark.parametrize(
    "changes",
    [
        {"body": "{to} {text}"},
        {"body": '{"to":"{to}"}'},
        {"body": "[" * 50 + '"{to}{text}"' + "]" * 50},
        {"body": '["{to}","{text}"]', "format": "form"},
        {"body": '{"to":"{to}","text":["{text}"]}', "format": "form"},
        {"token": "t", "user": "u", "password": "p"},
        {"user": "u"},
        {"password": "p"},
        {"headers": "X-Key: k"},
        {"headers": '{"X-Key":1}'},
        {"headers": '{"X Key":"k"}'},
        {"headers": '{"X-Key":"k\\r\\nX: y"}'},
    ],
)
def test_settings_that_cannot_work_stop_the_start(changes: dict[str, Any]) -> None:
    with pytest.raises(StartupError):
        options("https://gateway.test", **changes)


def test_options_do_not_print_what_is_secret() -> None:
    made = options("https://gateway.test/key/s3cret", token="t0ken", headers='{"X-Key":"k3y"}')
    assert not any(word in repr(made) for word in ("s3cret", "t0ken", "k3y", SECRET))
    assert "738204" not in repr(message()) and "+49" not in repr(message())
