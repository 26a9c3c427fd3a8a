import msgspec
import pytest

from bench.client import Answer, BenchError, Credentials, acknowledged, loopback_url
from bench.payload import Body


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:3000", "http://127.8.0.1:3000", "http://[::1]:3000", "http://localhost:3000"]
)
def test_addresses_of_this_machine_are_accepted(url: str) -> None:
    assert loopback_url(url + "/") == url


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.7:3000",
        "http://0.0.0.0:3000",
        "http://[2001:db8::1]:3000",
        "http://10.0.0.5",
        "http://hub.example:3000",
        "http://localhost.example:3000",
        "https://127.0.0.1:3000",
        "ftp://127.0.0.1",
        "http://admin@127.0.0.1:3000",
        "http://127.0.0.1:3000/api",
        "http://127.0.0.1:3000?to=http://192.0.2.7",
        "http://127.0.0.1:99999",
        "http://",
        "127.0.0.1:3000",
        "",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(BenchError):
        loopback_url(url)


def test_only_what_the_answer_says_was_applied_counts_as_acknowledged() -> None:
    body = Body(b"", 10)
    assert acknowledged(Answer("200", msgspec.json.encode({"status": "success", "applied": 7}), 0.1), body) == 7
    assert acknowledged(Answer("200", b'{"status":"success"}', 0.1), body) == 10
    assert acknowledged(Answer("422", b'{"status":"error","applied":0}', 0.1), body) == 0
    assert acknowledged(Answer("TimeoutError", b"", 60), body) == 0


def test_credentials_do_not_show_themselves() -> None:
    assert "secret" not in repr(Credentials("admin@example.org", "secret"))
