"""Which courier takes what. One set per process."""

from collections.abc import Mapping
from dataclasses import dataclass

from datacollect.kernel.clock import Clock
from datacollect.messaging import Channel, Courier
from datacollect.messaging.console import ConsoleCourier
from datacollect.messaging.http import GatewayCourier, WebhookCourier, read_gateway
from datacollect.outgoing import GuardedClient
from datacollect.settings import Settings


@dataclass(frozen=True, slots=True)
class Couriers:
    """`kinds` says for operators what takes a channel's messages; what nothing takes is missing."""

    by_channel: Mapping[Channel, Courier]
    kinds: Mapping[Channel, str]


def open_couriers(settings: Settings, client: GuardedClient, clock: Clock) -> Couriers:
    """Those that the settings name. Nothing is sent yet. Raises `StartupError` for settings that cannot work."""
    found: dict[Channel, tuple[str, Courier]] = {Channel.WEBHOOK: ("http", WebhookCourier(client, clock))}
    if settings.messages_on_console:
        found |= {channel: ("console", ConsoleCourier()) for channel in (Channel.MAIL, Channel.SMS)}
    if settings.smtp_url is not None:
        found[Channel.MAIL] = ("smtp", _smtp(settings, clock))
    if settings.sms_gateway_url is not None:
        found[Channel.SMS] = ("gateway", _gateway(settings, client, clock))
    return Couriers(
        {channel: courier for channel, (_, courier) in found.items()},
        {channel: kind for channel, (kind, _) in found.items()},
    )


def _smtp(settings: Settings, clock: Clock) -> Courier:
    # Not where nothing is sent by mail: the library stays in memory.
    from datacollect.messaging.smtp import SmtpCourier, read_smtp, trusted_certificates  # noqa: PLC0415

    assert settings.smtp_url is not None
    options = read_smtp(
        settings.smtp_url.get_secret_value(), sender=settings.smtp_from, allow_plain=settings.smtp_allow_plain
    )
    return SmtpCourier(options, clock, trusted_certificates(settings.smtp_ca_file))


def _gateway(settings: Settings, client: GuardedClient, clock: Clock) -> Courier:
    def clear(name: str) -> str | None:
        secret = getattr(settings, name)
        return None if secret is None else str(secret.get_secret_value())

    assert settings.sms_gateway_url is not None
    options = read_gateway(
        settings.sms_gateway_url.get_secret_value(),
        body=settings.sms_gateway_body,
        format=settings.sms_gateway_format,
        headers=clear("sms_gateway_headers"),
        token=clear("sms_gateway_token"),
        user=settings.sms_gateway_user,
        password=clear("sms_gateway_password"),
        secret=clear("sms_gateway_secret"),
    )
    return GatewayCourier(options, client, clock)
