"""Which published keys count, and which tokens are signed by them."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey
from joserfc.jws import JWSRegistry

from datacollect.kernel.jwks import PublicKeys, is_jws, read_unverified
from datacollect.kernel.oidc import TokenRefused

RSA = RSAKey.generate_key(2048)
OTHER_RSA = RSAKey.generate_key(2048)
ELLIPTIC = ECKey.generate_key("P-256")
_REGISTRY = JWSRegistry(algorithms=["RS256", "RS512", "PS256", "ES256", "HS256"], strict_check_header=False)


def public(key: Any, **members: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), **members}


def keys(*listed: Any) -> PublicKeys:
    return PublicKeys.read({"keys": list(listed)})


def signed(key: Any = RSA, alg: str = "RS256", **header: Any) -> str:
    return jws.serialize_compact({"alg": alg, **header}, b'{"sub":"ada"}', key, registry=_REGISTRY)


UNUSABLE = {
    "for encryption": public(RSA, use="enc"),
    "for encryption, said otherwise": public(RSA, key_ops=["encrypt"]),
    "operations that are no list": public(RSA, key_ops="verify"),
    "for another hash": public(RSA, alg="RS512"),
    "for another purpose": public(RSA, alg="RSA-OAEP"),
    "an id that is no text": public(RSA, kid=7),
    "too short": {"kty": "RSA", "n": urlsafe_b64encode((2**1023 + 1).to_bytes(128)).decode(), "e": "AQAB"},
    "too long": {"kty": "RSA", "n": urlsafe_b64encode((2**8192 + 1).to_bytes(1025)).decode(), "e": "AQAB"},
    "another curve": public(ECKey.generate_key("P-384")),
    "a curve it is not on": public(ELLIPTIC, crv="P-384"),
    "a secret": OctKey.generate_key(256).as_dict(),
    "nothing in it": {"kty": "RSA"},
    "tiny": {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    "numbers": {"kty": "RSA", "n": 7, "e": []},
    "a kind that is no text": {"kty": ["RSA"]},
    "a point beside the curve": {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
    "empty": {},
    "a text": "key",
    "null": None,
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_keys_for_something_else_weak_ones_and_broken_ones_are_left_out(what: str) -> None:
    listed = UNUSABLE[what]
    assert keys(listed).keys == []
    assert len(keys(listed, public(ELLIPTIC)).keys) == 1


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}, "keys"], ids=str)
def test_what_is_no_key_document_is_refused(document: Any) -> None:
    with pytest.raises(TokenRefused):
        PublicKeys.read(document)


def test_a_private_key_that_was_published_counts_as_its_public_part() -> None:
    found = keys({**RSA.as_dict(private=True), "kid": "a"})
    assert all(not key.is_private for _, _, key in found.keys)
    found.check(read_unverified(signed(kid="a")))


def test_a_key_serves_for_its_kind_of_signature_only() -> None:
    both, one = keys(public(RSA, kid="a")), keys(public(RSA, kid="a", alg="RS256"))
    both.check(read_unverified(signed(alg="PS256", kid="a")))
    with pytest.raises(TokenRefused, match="unknown key"):
        one.check(read_unverified(signed(alg="PS256", kid="a")))
    with pytest.raises(TokenRefused, match="unknown key"):
        one.check(read_unverified(signed(ELLIPTIC, "ES256", kid="a")))


def test_a_token_that_names_no_key_is_good_where_there_is_one_choice() -> None:
    only = keys(public(RSA, kid="a"), public(ELLIPTIC, kid="b"))
    only.check(read_unverified(signed()))
    with pytest.raises(TokenRefused, match="no key named"):
        keys(public(RSA, kid="a"), public(OTHER_RSA, kid="b")).check(read_unverified(signed()))
    with pytest.raises(TokenRefused, match="signature"):
        keys(public(OTHER_RSA)).check(read_unverified(signed()))


def test_of_keys_with_one_id_each_is_tried() -> None:
    keys(public(OTHER_RSA, kid="a"), public(RSA, kid="a")).check(read_unverified(signed(kid="a")))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256"},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"kid": 7},
        {"typ": 7},
        {"typ": "secevent+jwt"},
        {"typ": "dpop+jwt"},
    ],
    ids=str,
)
def test_headers_that_mean_something_else_are_refused(header: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        read_unverified(_with_header({"alg": "RS256", **header}))


def _with_header(head: dict[str, Any]) -> str:
    part = urlsafe_b64encode(json.dumps(head).encode()).rstrip(b"=").decode()
    return f"{part}.{signed().split('.', 1)[1]}"


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
def test_access_tokens_of_all_usual_types_are_read(typ: str | None) -> None:
    assert read_unverified(signed(**({} if typ is None else {"typ": typ}))).claims == {"sub": "ada"}


@pytest.mark.parametrize(
    "text", ["", "a", "a.b", "a.b.c.d.e", "..", "é.é.é", "a.b.c\n", "a b.c.d", "e30.e30.e30", "W10.e30.e30"]
)
def test_what_has_not_the_form_of_a_token_is_refused(text: str) -> None:
    with pytest.raises(TokenRefused):
        read_unverified(text)


def test_an_encrypted_token_is_not_taken_for_a_signed_one() -> None:
    assert is_jws(signed())
    assert not is_jws("eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..iv.text.tag")
    assert not is_jws("opaque")
    assert not is_jws("a.b.c")
