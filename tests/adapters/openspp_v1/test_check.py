"""Trying a connection, and what a form for it shows."""

import pytest

from datacollect.adapters import openspp_v1
from datacollect.adapters.kinds import FieldMapping
from datacollect.adapters.options import form_fields
from datacollect.testing.odoo import FakeOdoo
from datacollect.testing.remote import Instead
from tests.adapters.openspp_v1.conftest import MAPPINGS, PASSWORD, Make

pytestmark = pytest.mark.anyio


async def test_a_check_signs_in_each_time_and_reads(make: Make, odoo: FakeOdoo) -> None:
    adapter = make(registrarGroup="group_g2p_registrar")
    for _ in range(2):
        health = await adapter.check()
        assert (health.is_healthy, health.latency_ms is not None) == (True, True), health.message
    assert odoo.calls["authenticate"] == 2
    odoo.add_user("registrar", "changed")
    assert (await adapter.check()).is_healthy is False


async def test_each_reason_why_it_does_not_work_is_told_and_no_secret(make: Make, odoo: FakeOdoo) -> None:
    unknown = (*MAPPINGS, FieldMapping(form_field="x", remote_field="no_such_field"))
    adapters = [
        make(password="wrong"), make(database="none"), make(registrarGroup="group_none"), make(unknown),
        make(url=f"{odoo.url}/elsewhere"), make(referenceField="gender"),
    ]  # fmt: skip
    told = []
    for adapter in adapters:
        health = await adapter.check()
        assert health.is_healthy is False and health.message
        told.append(health.message)
    odoo.faults.add(Instead(200, b"<html>login</html>"))
    told.append((await make().check()).message or "")
    odoo.stop()
    told.append((await make().check()).message or "")
    assert len(set(told)) == len(told)
    assert "no_such_field" in told[3]
    assert not any(PASSWORD in text or "wrong" in text or "<html>" in text for text in told)


async def test_closing_is_possible_at_any_time(make: Make) -> None:
    adapter = make()
    await adapter.close()
    await adapter.check()
    await adapter.close()
    await adapter.close()


async def test_an_empty_batch_makes_no_call(make: Make, odoo: FakeOdoo) -> None:
    assert await make().push([]) == []
    assert odoo.asked == 0


def test_the_form_asks_for_what_a_connection_needs() -> None:
    fields = {field.name: field for field in form_fields(openspp_v1.KIND.options)}
    assert [name for name, field in fields.items() if field.required] == ["database", "username", "password"]
    assert fields["password"].type == "password"
    defaults = {name: fields[name].default for name in ("batchSize", "batchDelayMs", "maxRetries")}
    assert defaults == {"batchSize": 50, "batchDelayMs": 1000, "maxRetries": 2}


@pytest.mark.parametrize(("given", "read"), [("0", 0), (0, 0), ("25", 25)])
def test_numbers_may_be_texts_and_zero_is_a_number(given: object, read: int) -> None:
    settings = {"url": "https://odoo.example.org", "database": "d", "username": "u", "password": "p"}
    options = openspp_v1.KIND.options.model_validate({**settings, "batchDelayMs": given})
    assert options.batch_delay_ms == read  # type: ignore[attr-defined]
