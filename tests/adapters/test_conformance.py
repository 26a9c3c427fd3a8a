"""Every adapter of the hub keeps the contract that is shipped for authors of others."""

import contextlib
from collections.abc import Iterator

import pytest

from datacollect.adapters import mock, openfn, openspp_v1, openspp_v2
from datacollect.adapters.builtin import BUILT_IN
from datacollect.testing.adapters import AdapterContract, Subject
from datacollect.testing.mock_registry import MockRegistry
from datacollect.testing.odoo import FakeOdoo
from datacollect.testing.openfn import OpenFnWorkflow
from datacollect.testing.openspp_v2 import OpenSppV2Registry
from datacollect.testing.remote import RemoteSystem


class TestMock(AdapterContract):
    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        config = {"clientId": "hub", "clientSecret": "s3cret-of-the-hub"}
        with (
            contextlib.closing(MockRegistry(client_id="hub", client_secret="s3cret-of-the-hub")) as registry,
            RemoteSystem(registry.handle) as system,
        ):
            section = {"type": "mock", "url": system.url, "adapterConfig": config}
            yield Subject(
                kind=mock.KIND,
                section=section,
                invalid=[
                    {**section, "adapterConfig": {}},
                    {**section, "adapterConfig": {"clientId": "hub"}},
                    {**section, "adapterConfig": {**config, "timeout": "soon"}},
                    {**section, "url": "registry.example.org"},
                ],
                system=system,
                made=lambda: len(registry.persons()),
                creates=lambda request: request.method == "POST" and request.path.startswith("/v1/"),
            )
        registry.close()


class TestOpenFn(AdapterContract):
    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        with OpenFnWorkflow() as workflow:
            config = {"apiKey": workflow.api_key}
            section = {"type": "openfn-adapter", "url": workflow.url, "adapterConfig": config}
            yield Subject(
                kind=openfn.KIND,
                section=section,
                invalid=[
                    {**section, "adapterConfig": {}},
                    {**section, "adapterConfig": {**config, "batchSize": "many"}},
                    {**section, "url": "flow.example.org"},
                ],
                system=workflow,
                made=lambda: len(workflow.records) + len(workflow.doubled),
                creates=lambda request: request.method == "POST",
            )


class TestOpenSppV1(AdapterContract):
    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        config = {"database": "openspp", "username": "hub", "password": "s3cret-of-the-hub", "batchDelayMs": 0}
        mappings = [{"formField": "firstName", "opensppField": "given_name", "transformer": {"type": "text"}}]
        with FakeOdoo(database="openspp") as odoo:
            odoo.add_user("hub", "s3cret-of-the-hub")
            section = {
                "type": "openspp-v1-adapter",
                "url": odoo.url,
                "adapterConfig": config,
                "fieldMappings": mappings,
            }
            yield Subject(
                kind=openspp_v1.KIND,
                section=section,
                invalid=[
                    {**section, "adapterConfig": {}},
                    {**section, "adapterConfig": {**config, "password": ""}},
                    {**section, "adapterConfig": {**config, "batchSize": "many"}},
                    {**section, "adapterConfig": {**config, "referenceField": "no field"}},
                ],
                system=odoo,
                made=lambda: len(odoo.partners()),
                creates=lambda request: '"create"' in request.body.decode(),
            )


class TestOpenSppV2(AdapterContract):
    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        config = {"clientId": "dc", "clientSecret": "s3cret", "maxRetries": 0}
        with OpenSppV2Registry() as registry:
            section = {"type": "openspp-v2-adapter", "url": registry.url, "adapterConfig": config}
            yield Subject(
                kind=openspp_v2.KIND,
                section=section,
                invalid=[
                    {**section, "adapterConfig": {"clientId": "dc"}},
                    {**section, "adapterConfig": {**config, "batchSize": "many"}},
                    {**section, "url": "registry.example.org"},
                ],
                system=registry.system,
                made=lambda: len(registry.people),
                creates=lambda request: request.method == "POST" and request.path.endswith("/Individual"),
            )
            assert registry.refused == []


TRIED = {
    "mock": TestMock,
    "openspp-v1-adapter": TestOpenSppV1,
    "openspp-v2-adapter": TestOpenSppV2,
    "openfn-adapter": TestOpenFn,
}
"""By name. Whoever adds an adapter adds its class above and here."""


def test_every_built_in_adapter_is_tried() -> None:
    assert {kind.name for kind in BUILT_IN} == TRIED.keys()
