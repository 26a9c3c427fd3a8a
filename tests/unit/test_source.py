"""What the hub keeps of where a request comes from."""

import pytest

from datacollect.kernel.source import origin_of, shown_user_agent, site_of


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("64:ff9b::c000:207", "192.0.2.7"),
        ("64:ff9b:0:0:0:1:c000:207", "64:ff9b::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_attempts_are_counted_per_customer_not_per_address(address: str, origin: str) -> None:
    assert origin_of(address) == origin


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        ("192.0.2.7", None),
        ("2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("unknown", None),
        ("not:an:address", None),
    ],
)
def test_a_site_is_counted_too(origin: str, site: str | None) -> None:
    assert site_of(origin) == site


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (None, None),
        ("", None),
        (" \t", None),
        ("Field app/3.1 (Android 14)", "Field app/3.1 (Android 14)"),
        ("a\x00b\x1b[31mc\r\nd\u202ee", "ab[31mcde"),
        ("x" * 500, "x" * 200),
    ],
)
def test_a_client_names_itself_in_short_and_without_control_characters(header: str | None, shown: str | None) -> None:
    assert shown_user_agent(header) == shown
