import pytest

from tests.http.conftest import OpenHub

pytestmark = pytest.mark.anyio

OURS, OTHER = "https://admin.hub.test", "https://evil.test"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


@pytest.mark.parametrize(
    ("configured", "origin", "allowed"),
    [
        (None, OTHER, False),
        ("", OTHER, False),
        (f" {OURS} , https://two.test", OURS, True),
        (f"{OURS},https://two.test", "https://two.test", True),
        (OURS, OTHER, False),
        (OURS, "http://admin.hub.test", False),
        (OURS, f"{OURS}:8443", False),
        (OURS, f"{OURS}.evil.test", False),
        (OURS, "null", False),
        ("*", OTHER, True),
    ],
)
async def test_only_configured_origins_may_read_answers(
    open_hub: OpenHub, configured: str | None, origin: str, allowed: bool
) -> None:
    async with open_hub(CORS_ORIGINS=configured) as client:
        answers = [
            await client.get("/health", headers={"Origin": origin}),
            await client.get("/nowhere", headers={"Origin": origin}),
            await client.options("/api/users/login", headers={"Origin": origin, **PREFLIGHT}),
        ]
    assert answers[0].status_code == 200, "the request itself is always answered"
    assert answers[2].status_code == 204
    for answer in answers:
        assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
        assert answer.headers.get("access-control-allow-credentials") == ("true" if allowed else None)
        assert "Origin" in answer.headers["vary"]


async def test_a_preflight_names_methods_and_headers(open_hub: OpenHub) -> None:
    async with open_hub(CORS_ORIGINS=OURS) as client:
        answer = await client.options("/api/sync/push", headers={"Origin": OURS, **PREFLIGHT})
    assert answer.content == b""
    methods = answer.headers["access-control-allow-methods"].split(", ")
    assert set(methods) == {"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"}
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "content-type", "x-device-id", "if-match"} <= set(allowed)


async def test_a_preflight_allows_the_headers_it_asks_for(open_hub: OpenHub) -> None:
    asked = {**PREFLIGHT, "Access-Control-Request-Headers": "authorization,traceparent"}
    async with open_hub(CORS_ORIGINS=OURS) as client:
        ours = await client.options("/api/sync/pull", headers={"Origin": OURS, **asked})
        other = await client.options("/api/sync/pull", headers={"Origin": OTHER, **asked})
    assert ours.headers["access-control-allow-headers"].endswith("authorization,traceparent")
    assert "access-control-allow-headers" not in other.headers
    assert "Access-Control-Request-Headers" in ours.headers["vary"]


async def test_scripts_may_read_what_clients_need(open_hub: OpenHub) -> None:
    async with open_hub(CORS_ORIGINS=OURS) as client:
        answer = await client.get("/health", headers={"Origin": OURS})
    exposed = set(answer.headers["access-control-expose-headers"].lower().split(", "))
    wanted = "retry-after ratelimit ratelimit-policy x-request-id x-sync-scope-hash x-total-count etag link"
    assert set(wanted.split()) <= exposed


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/health", 200), ("GET", "/nowhere", 404), ("POST", "/health", 405)]
)
async def test_every_answer_has_the_security_headers(open_hub: OpenHub, method: str, path: str, status: int) -> None:
    async with open_hub() as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    expected = {
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "origin-agent-cluster": "?1",
        "referrer-policy": "no-referrer",
        "strict-transport-security": "max-age=31536000; includeSubDomains",
        "x-content-type-options": "nosniff",
        "x-dns-prefetch-control": "off",
        "x-download-options": "noopen",
        "x-frame-options": "SAMEORIGIN",
        "x-permitted-cross-domain-policies": "none",
        "x-xss-protection": "0",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    policy = answer.headers["content-security-policy"].split(";")
    assert {"default-src 'self'", "script-src 'self'", "object-src 'none'", "frame-ancestors 'self'"} <= set(policy)
    assert "x-powered-by" not in answer.headers
    assert len(answer.headers.get_list("content-security-policy")) == 1
