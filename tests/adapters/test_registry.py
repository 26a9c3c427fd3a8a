"""Which adapters there are, and that an extension that is broken breaks nothing."""

from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest

from datacollect.adapters import mock
from datacollect.adapters.builtin import BUILT_IN
from datacollect.adapters.errors import UnknownAdapter
from datacollect.adapters.kinds import Context
from datacollect.adapters.mock import MockAdapter
from datacollect.adapters.registry import GROUP, AdapterRegistry, installed, load
from datacollect.kernel.errors import StartupError

THIRD_PARTY = replace(mock.KIND, name="third-party", label="Third party", aliases=("third",))
BUILT_IN_AGAIN = replace(mock.KIND, name="elsewhere", aliases=("mock",))
UNUSABLE = replace(mock.KIND, name="")
NOT_A_KIND = object()


def entry(name: str) -> EntryPoint:
    return EntryPoint(name=name, value=f"tests.adapters.test_registry:{name}", group=GROUP)


def test_the_adapters_of_the_hub_are_there_in_the_order_in_which_they_are_offered() -> None:
    assert installed().types()[: len(BUILT_IN)] == [kind.name for kind in BUILT_IN]
    assert installed() is installed()


def test_a_kind_is_found_by_its_name_and_its_aliases() -> None:
    registry = AdapterRegistry([mock.KIND, THIRD_PARTY])
    assert registry.get("mock-sync-server") is mock.KIND
    assert registry.has("third")
    assert not registry.has("Mock")
    assert registry.types() == ["mock", "third-party"]
    with pytest.raises(UnknownAdapter, match="known ones are mock, third-party"):
        registry.get("other")


async def test_each_creation_makes_a_new_one(context: Context) -> None:
    options = mock.KIND.options.model_validate({"url": "https://r.example.org", "clientId": "a", "clientSecret": "b"})
    registry = AdapterRegistry([mock.KIND])
    one, other = (registry.create("mock", options, context) for _ in range(2))
    assert isinstance(one, MockAdapter)
    assert one is not other


def test_registering_again_replaces_the_kind_and_its_description() -> None:
    registry = AdapterRegistry([mock.KIND, THIRD_PARTY])
    assert registry.describe("mock").as_json()["version"] == "2.0.0"
    assert registry.describe("mock") is registry.describe("mock-sync-server")
    registry.register(replace(mock.KIND, version="3.0.0"))
    assert registry.describe("mock").as_json()["version"] == "3.0.0"
    assert registry.types() == ["mock", "third-party"]


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"version": ""}, {"capabilities": frozenset()}, {"create": None}, {"options": dict}]
)
def test_a_kind_that_cannot_be_used_is_not_registered(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="adapter"):
        AdapterRegistry([replace(mock.KIND, **change)])  # type: ignore[arg-type]


def test_packages_bring_adapters_and_broken_ones_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    broken = EntryPoint(name="broken", value="tests.adapters.nowhere:KIND", group=GROUP)
    registry = load([entry("NOT_A_KIND"), broken, entry("THIRD_PARTY"), entry("UNUSABLE")])
    assert registry.types() == [*(kind.name for kind in BUILT_IN), "third-party"]
    said = capsys.readouterr().out
    assert said.count("adapter.left_out") == 3
    assert "ModuleNotFoundError" in said


def test_two_of_one_name_stop_the_start() -> None:
    with pytest.raises(StartupError, match="Two adapters are called mock"):
        load([entry("BUILT_IN_AGAIN")])


def test_the_mock_adapter_describes_itself_as_the_contract_says() -> None:
    described = AdapterRegistry([mock.KIND]).describe("mock").as_json()
    assert described["capabilities"] == ["pull", "push"]
    assert [one["name"] for one in described["fields"]] == [
        "clientId",
        "clientSecret",
        "identifierScheme",
        "identifierType",
    ]
    assert described["fields"][0]["default"] == "mock-client"
    assert described["fields"][2]["default"] == "urn:mock:vocab:id-type"
    assert described["configSchema"]["required"] == ["url", "clientId", "clientSecret"]
