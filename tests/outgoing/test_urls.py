"""Which URLs are refused before anything is looked up, and with which text. First the rows of the contract."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.outgoing import InternalUrl, Rules, UrlRefused
from datacollect.outgoing.urls import read_url

INTERNAL = "URLs targeting private or internal networks are not allowed"
PRIVATE_ALLOWED = Rules(allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://169.254.0.1/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://localhost/",
        "http://localhost:8080/",
        "https://127.0.0.1/",
        "http://127.0.0.5/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://172.31.255.255/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://[::1]/",
        "http://[fd12:3456::1]/",
        "http://[fe80::1]/",
        "http://[::ffff:127.0.0.1]/",
        # Beyond the contract's rows: other spellings of the same.
        "http://[::ffff:7f00:1]/",
        "http://[::]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b::808:808]/",
        "http://[2002:7f00:1::]/",
        "http://[0:0:0:0:0:0:0:1]:8069/",
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://0X7F.1/",
        "http://127.0.1/",
        "http://017700000001/",
        "http://127.0.0.1./",
        "http://0/",
        "http://224.0.0.1/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
        "http://LOCALHOST/",
        "http://localhost./",
        "http://anything.localhost/",
        "http://printer.local/",
        "http://registry.internal/",
        "http://registry.internal./",
        "http://metadata/",
        "http://postgres:5432/",
    ],
)
def test_urls_that_lead_inside_are_refused_with_the_contracts_text(url: str) -> None:
    with pytest.raises(InternalUrl) as refused:
        read_url(url, Rules())
    assert (refused.value.status, refused.value.message) == (400, INTERNAL)


@pytest.mark.parametrize("url", ["http://8.8.8.8/", "http://1.1.1.1/", "https://93.184.216.34/"])
def test_public_addresses_are_admitted_without_a_look_up(url: str) -> None:
    target = read_url(url, Rules())
    assert (str(target.address), target.url) == (target.host, url)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "The URL is not valid"),
        ("not a url", "The URL contains a backslash, a space or a control character"),
        ("registry.example", "The URL is not valid"),
        ("//registry.example/", "The URL is not valid"),
        ("http:/registry.example/", "The URL is not valid"),
        ("http:registry.example", "The URL is not valid"),
        ("ftp://registry.example/", "The URL must begin with http:// or https://"),
        ("file:///etc/passwd", "The URL must begin with http:// or https://"),
        ("gopher://registry.example/_x", "The URL must begin with http:// or https://"),
        ("javascript://registry.example/", "The URL must begin with http:// or https://"),
        ("http+unix://%2Fvar%2Frun%2Fdocker.sock/", "The URL must begin with http:// or https://"),
        ("http://", "The URL does not contain a valid host name"),
        ("http:///path", "The URL does not contain a valid host name"),
        ("http://:80/", "The URL does not contain a valid host name"),
        ("http://./", "The URL does not contain a valid host name"),
        ("http://registry..example/", "The URL does not contain a valid host name"),
        ("http://127.0.0.1../", "The URL does not contain a valid host name"),
        ("http://-registry.example/", "The URL does not contain a valid host name"),
        (f"http://{'a' * 64}.example/", "The URL does not contain a valid host name"),
        (f"http://{'a.' * 126}example/", "The URL does not contain a valid host name"),
        ("http://%6c%6f%63%61%6c%68%6f%73%74/", "The URL does not contain a valid host name"),
        ("http://registry.example%00.evil.example/", "The URL does not contain a valid host name"),
        ("http://127.0.0.256/", "The URL does not contain a valid host name"),
        ("http://1.2.3.4.5/", "The URL does not contain a valid host name"),
        ("http://registry.0x7f/", "The URL does not contain a valid host name"),
        ("http://[::1/", "The URL is not valid"),
        ("http://[::1]x/", "The URL is not valid"),
        ("http://[fe80::1%25eth0]/", "The URL does not contain a valid host name"),
        ("http://[v1.a]/", "The URL does not contain a valid host name"),
        ("http://1:2:3/", "The URL is not valid"),
        ("http://8.8.8.08/", "The URL does not contain a valid host name"),
        ("http://134744072/", "Write the IP address as four decimal numbers"),
        ("http://010.8.8.8/", "Write the IP address as four decimal numbers"),
        ("http://user@registry.example/", "The URL must not contain a user name or password"),
        ("http://user:secret@registry.example/", "The URL must not contain a user name or password"),
        ("http://8.8.8.8@127.0.0.1/", "The URL must not contain a user name or password"),
        ("http://registry.example:@127.0.0.1/", "The URL must not contain a user name or password"),
        ("http://registry.example\\@127.0.0.1/", "The URL contains a backslash, a space or a control character"),
        ("http:\\\\registry.example/", "The URL contains a backslash, a space or a control character"),
        ("http://registry.example/\r\nHost: evil", "The URL contains a backslash, a space or a control character"),
        ("http://registry.example/a\nb", "The URL contains a backslash, a space or a control character"),
        (" http://registry.example/", "The URL contains a backslash, a space or a control character"),
        ("http://registry.example/\x00", "The URL contains a backslash, a space or a control character"),
        ("http://registry.example/\x7f", "The URL contains a backslash, a space or a control character"),
        ("http://registry.example/\u2028", "The URL contains a backslash, a space or a control character"),
        ("http://registry.example/\ud800", "The URL contains a backslash, a space or a control character"),
        ("http://１２７.０.０.１/", "Write the host name in ASCII (names in other scripts begin with xn--)"),
        ("http://127。0。0。1/", "Write the host name in ASCII (names in other scripts begin with xn--)"),
        ("http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "Write the host name in ASCII (names in other scripts begin with xn--)"),
        ("http://bücher.example/", "Write the host name in ASCII (names in other scripts begin with xn--)"),
        ("http://registry.example:0/", "The URL names a port that is not used for HTTP"),
        ("http://registry.example:25/", "The URL names a port that is not used for HTTP"),
        ("http://registry.example:65536/", "The URL names a port that is not used for HTTP"),
        ("http://registry.example:/", "The URL is not valid"),
        ("http://registry.example:http/", "The URL is not valid"),
        ("http://registry.example:-1/", "The URL is not valid"),
        ("http://registry.example:8_0/", "The URL is not valid"),
        ("http://registry.example:٨٠/", "The URL is not valid"),
        (f"http://registry.example/{'a' * 2048}", "The URL is too long"),
    ],
)
@pytest.mark.parametrize("rules", [Rules(), PRIVATE_ALLOWED], ids=["strict", "private allowed"])
def test_urls_that_can_be_read_in_two_ways_are_refused(url: str, text: str, rules: Rules) -> None:
    with pytest.raises(UrlRefused) as refused:
        read_url(url, rules)
    assert not isinstance(refused.value, InternalUrl)
    assert (refused.value.status, refused.value.message) == (400, text)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTPS://Registry.Example", "https://registry.example/"),
        ("https://registry.example.:443/a?b=c#d", "https://registry.example/a?b=c"),
        ("https://registry.example?b=c", "https://registry.example/?b=c"),
        ("http://registry.example:00080/", "http://registry.example/"),
        ("http://registry.example:8069/jsonrpc", "http://registry.example:8069/jsonrpc"),
        ("http://xn--bcher-kva.example/ü?ü=%20", "http://xn--bcher-kva.example/%C3%BC?%C3%BC=%20"),
        ("http://my_host.example/", "http://my_host.example/"),
        ("http://[2606:4700:0::1111]:8080/", "http://[2606:4700::1111]:8080/"),
        ("http://[::ffff:8.8.8.8]/", "http://8.8.8.8/"),
    ],
)
def test_a_url_is_written_anew_from_what_was_read(url: str, normal: str) -> None:
    assert read_url(url, Rules()).url == normal
    assert read_url(normal, Rules()) == read_url(url, Rules())


@pytest.mark.parametrize("url", ["http://localhost:8069/", "http://127.0.0.1/", "http://odoo:8069/", "http://[::1]/"])
def test_private_hosts_are_admitted_where_they_are_allowed(url: str) -> None:
    assert read_url(url, PRIVATE_ALLOWED).url == url


@given(st.text() | st.from_regex(r"https?://[\[\]a-z0-9.:@%/?#\\-]*", fullmatch=True))
def test_any_text_is_read_or_refused_and_what_is_read_is_stable(text: str) -> None:
    try:
        target = read_url(text, Rules())
    except UrlRefused:
        return
    assert read_url(target.url, Rules()) == target


@pytest.mark.parametrize(
    "secret", ["http://user:hunter2@registry.example/", "http://127.0.0.1/hunter2", "http://x:0/?hunter2"]
)
def test_a_refusal_does_not_repeat_the_url(secret: str) -> None:
    with pytest.raises(UrlRefused) as refused:
        read_url(secret, Rules())
    assert "hunter2" not in str(refused.value) + refused.value.help
