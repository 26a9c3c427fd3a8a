"""OpenSPP V1 against the fake Odoo."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datacollect.adapters import openspp_v1
from datacollect.adapters.kinds import Context, FieldMapping
from datacollect.adapters.openspp_v1 import OpenSppV1Adapter
from datacollect.testing.odoo import REGISTRAR, FakeOdoo
from datacollect.testing.remote import Request

PASSWORD = "s3cret-of-odoo"

MAPPINGS = (
    FieldMapping(form_field="firstName", remote_field="given_name"),
    FieldMapping(form_field="lastName", remote_field="family_name"),
    FieldMapping(form_field="birthdate", remote_field="birthdate", transformer="date"),
    FieldMapping(form_field="sex", remote_field="gender"),
    FieldMapping(form_field="genderId", remote_field="gender_id", transformer="id"),
    FieldMapping(form_field="phone", remote_field="phone"),
    FieldMapping(form_field="size", remote_field="hh_size"),
    FieldMapping(form_field="disabled", remote_field="is_disabled", transformer="boolean"),
)

Make = Callable[..., OpenSppV1Adapter]


class Moments:
    """Odoo's clock: a second later each time it is asked, unless `step` says otherwise."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 5, 1, 10, 0, 0, 250_000, tzinfo=UTC)
        self.step = timedelta(seconds=1)

    def __call__(self) -> datetime:
        self.moment += self.step
        return self.moment


@pytest.fixture
def moments() -> Moments:
    return Moments()


@pytest.fixture
def odoo(moments: Moments) -> Iterator[FakeOdoo]:
    with FakeOdoo(now=moments) as odoo:
        odoo.add_user("registrar", PASSWORD)
        yield odoo


@pytest.fixture
async def make(odoo: FakeOdoo, context: Context) -> Make:
    """A new adapter, with changed options or mappings."""

    def make(mappings: tuple[FieldMapping, ...] = MAPPINGS, **options: Any) -> OpenSppV1Adapter:
        settings = {
            "url": f"{odoo.url}/",
            "database": odoo.database,
            "username": "registrar",
            "password": PASSWORD,
            "batchDelayMs": "0",
            "maxRetries": 0,
            **options,
        }
        chosen = openspp_v1.KIND.options.model_validate(settings)
        adapter = openspp_v1.KIND.create(chosen, replace(context, mappings=mappings))
        assert isinstance(adapter, OpenSppV1Adapter)
        return adapter

    return make


def calls(method: str, model: str = "res.partner") -> Callable[[Request], bool]:
    """Whether a request is this call."""

    def matches(request: Request) -> bool:
        args = request.json()["params"]["args"]
        return len(args) > 4 and args[3:5] == [model, method]

    return matches


__all__ = ["MAPPINGS", "PASSWORD", "REGISTRAR", "Make", "Moments", "calls"]
