"""Every code that a message can end with is explained where operators look."""

import re
from pathlib import Path

import datacollect.messaging
from datacollect.features.messages.model import Code, Status

SOURCES = Path(datacollect.messaging.__file__).parent.glob("*.py")
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "send-codes-by-mail-and-sms.md"


def test_the_how_to_explains_every_code_and_no_other() -> None:
    said = {code for file in SOURCES for code in re.findall(r'"((?:SMTP|GATEWAY|ADDRESS)_[A-Z_]+)"', file.read_text())}
    settings = {"SMS_GATEWAY_TOKEN", "SMTP_URL", "SMTP_FROM"}
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| `[A-Z_]+`", line)]
    explained = {code for row in rows for code in re.findall(r"`([A-Z_]+)`", row.split("|")[1])}
    assert explained == (said - settings) | set(Code)


def test_the_how_to_explains_every_status() -> None:
    for status in Status:
        assert f"`{status}`" in PAGE.read_text()
