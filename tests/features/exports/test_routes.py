"""`GET /api/entities/export` through HTTP: what comes out in each format, for whom, and what is told of it."""

import csv
import io
import json
import zipfile
from typing import Any

import openpyxl
import pytest
from httpx2 import AsyncClient

from datacollect.features.exports import source
from tests.accounts import bearer, login, make_person
from tests.factories import make_event, make_program, new_id, pull_audit, push

pytestmark = pytest.mark.anyio

FORM = {
    "components": [
        {"type": "textfield", "key": "firstName", "label": "Name"},
        {"type": "panel", "components": [{"type": "textfield", "key": "lastName", "label": "Name"}]},
        {"type": "number", "key": "age", "label": "Age"},
        {
            "type": "container",
            "key": "address",
            "components": [{"type": "textfield", "key": "zip", "label": "Postcode"}],
        },
        {
            "type": "selectboxes",
            "key": "needs",
            "label": "Needs",
            "values": [{"value": "water", "label": "Water"}, {"value": "food", "label": "Food"}],
        },
        {
            "type": "datagrid",
            "key": "children",
            "label": "Children",
            "components": [
                {"type": "textfield", "key": "name", "label": "Child"},
                {
                    "type": "editgrid",
                    "key": "shots",
                    "components": [{"type": "textfield", "key": "kind", "label": "Shot"}],
                },
            ],
        },
        {"type": "datetime", "key": "visited", "label": "Visited"},
    ]
}
FORMS = [
    {"id": "f1", "name": "household", "title": "Household", "formio": {"components": []}},
    {"id": "f2", "name": "person", "title": "Person", "dependsOn": "household", "formio": FORM},
]
ANA = {
    "entityName": "person",
    "name": "Ana",
    "firstName": "=1+1",
    "lastName": "Ñandú 家",
    "age": -5,
    "address": {"zip": "+85620", "street": "x"},
    "needs": {"water": True, "food": False},
    "children": [{"name": "Bo", "shots": [{"kind": "A"}, {"kind": "B"}]}, {"name": "-Cy", "pet": 1}],
    "visited": "2025-03-01T10:00:00+07:00",
    "phone": "-5",
    "tags": ["a", "b"],
}


async def export(client: AsyncClient, program: str, **parameters: Any) -> Any:
    return await client.get("/api/entities/export", params={"configId": program} | parameters)


async def filled(admin: AsyncClient) -> str:
    """A household with Ana in it, and somebody without a form."""
    program = await make_program(admin, entityForms=FORMS)
    answer = await push(
        admin,
        program,
        make_event(entity="ana", data=ANA),
        make_event("create-group", entity="hh", data={"entityName": "household", "name": "HH", "memberIds": "roll 12"}),
        make_event("add-member", entity="hh", data={"members": [{"guid": "ana", "type": "individual"}]}),
        make_event(entity="nobody", data={"name": "N.N.", "zeta": {"deep": [1]}, "members": 4}),
        make_event(entity="gone", data={"name": "Gone", "entityName": "person"}),
        make_event("delete-entity", entity="gone", data={"reason": "x"}),
    )
    assert answer.status_code == 200, answer.text
    return program


def csv_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))


def tables_in(content: bytes) -> dict[str, list[dict[str, str]]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: csv_of(archive.read(name)) for name in archive.namelist() if name.endswith(".csv")}


async def test_an_export_as_csv_has_a_table_for_each_form_and_grid(admin: AsyncClient) -> None:
    answer = await export(admin, await filled(admin), format="csv", header="keys")
    assert answer.status_code == 200, answer.text
    tables = tables_in(answer.content)
    assert list(tables) == [
        "household.csv", "person.csv", "person.children.csv", "person.children.shots.csv", "without form.csv",
    ]  # fmt: skip
    person = tables["person.csv"]
    assert list(person[0]) == [
        "_guid", "_type", "_name", "_members", "_lastUpdated", "firstName", "lastName", "age", "address.zip", "needs.water",
        "needs.food", "visited", "name", "phone", "tags", "_other",
    ]  # fmt: skip
    assert [row["_guid"] for row in person] == ["ana"]
    assert person[0] | {"_lastUpdated": ""} == {
        "_guid": "ana", "_type": "individual", "_name": "Ana", "_members": "", "_lastUpdated": "", "firstName": "'=1+1",
        "lastName": "Ñandú 家", "age": "-5", "address.zip": "+85620", "needs.water": "true", "needs.food": "false",
        "visited": "2025-03-01T10:00:00+07:00", "name": "Ana", "phone": "-5", "tags": "a; b",
        "_other": '{"address.street":"x"}',
    }  # fmt: skip
    assert tables["person.children.csv"] == [
        {"_guid": "ana", "_row": "1", "name": "Bo", "_other": ""},
        {"_guid": "ana", "_row": "2", "name": "'-Cy", "_other": '{"pet":1}'},
    ]
    assert [(row["_row"], row["kind"]) for row in tables["person.children.shots.csv"]] == [("1.1", "A"), ("1.2", "B")]
    assert [(row["_members"], row["_other"]) for row in tables["household.csv"]] == [("ana", '{"memberIds":"roll 12"}')]
    assert [(row["_name"], row["zeta"], row["_other"]) for row in tables["without form.csv"]] == [
        ("N.N.", '{"deep":[1]}', '{"members":4}')
    ]


async def test_columns_are_called_by_labels_and_fields_with_the_same_one_are_told_apart(admin: AsyncClient) -> None:
    answer = await export(admin, await filled(admin), format="csv", form="person", bom="true")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    text = answer.content.decode()
    assert text.startswith(
        "\ufeff_guid,_type,_name,_members,_lastUpdated,Name (firstName),Name (lastName),Age,Postcode,"
    )
    assert "Needs: Water,Needs: Food,Visited,name,phone,tags,_other\r\n" in text


async def test_the_values_of_a_renamed_field_are_in_columns_of_their_own(admin: AsyncClient) -> None:
    components = [{"type": "textfield", "key": "phoneNumber", "label": "phone"}]
    form = {"id": "f", "name": "person", "title": "Person", "formio": {"components": components}}
    program = await make_program(admin, entityForms=[form])
    data = {"entityName": "person", "phone": "0911", "phoneNumber": "0922", "_guid": "forged"}
    await push(admin, program, make_event(entity="ana", data=data))
    (row,) = csv_of((await export(admin, program, format="csv", form="person")).content)
    assert (row["_guid"], row["phone"], row["phone (phone)"]) == ("ana", "0922", "0911")
    assert row["_guid (_guid)"] == "forged"


async def test_an_export_as_xlsx_has_typed_cells(admin: AsyncClient) -> None:
    answer = await export(admin, await filled(admin), format="xlsx", header="keys")
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    assert book.sheetnames == ["household", "person", "person.children", "person.children.shots", "without form"]
    header, ana = list(book["person"].iter_rows(values_only=True))
    cells = dict(zip(header, ana, strict=True))
    assert (cells["firstName"], cells["age"], cells["needs.water"]) == ("=1+1", -5, True)
    assert str(cells["visited"]) == "2025-03-01 10:00:00"
    assert book["person"]["F2"].data_type == "s"


async def test_a_workbook_tells_all_members_of_a_group_however_many(admin: AsyncClient) -> None:
    program = await filled(admin)
    members = [{"guid": f"{n:06}-" + "x" * 100, "name": "M", "entityName": "person"} for n in range(400)]
    assert (
        await push(admin, program, make_event("add-member", entity="hh", data={"members": members}))
    ).status_code == 200
    book = openpyxl.load_workbook(io.BytesIO((await export(admin, program, format="xlsx")).content))
    assert book.sheetnames[:3] == ["household", "household.members", "person"]
    header, *rows = book["household.members"].iter_rows(values_only=True)
    assert header == ("_guid", "_row", "_member")
    guids_in_order = ["ana", *(member["guid"] for member in members)]
    assert rows == [("hh", number, guid) for number, guid in enumerate(guids_in_order, 1)]


async def test_an_export_as_json_holds_entities_and_events(admin: AsyncClient) -> None:
    program = await filled(admin)
    answer = await export(admin, program)
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert list(document) == ["metadata", "entities", "events"]
    metadata = document["metadata"]
    assert (metadata["configId"], metadata["what"], metadata["head"]["position"]) == (program, "all", 6)
    assert metadata["program"]["entityForms"][1]["name"] == "person"
    assert {pair["guid"] for pair in document["entities"]} == {"ana", "hh", "nobody"}
    household = next(pair["modified"] for pair in document["entities"] if pair["guid"] == "hh")
    assert (household["memberIds"], household["version"]) == (["ana"], 2)
    assert [event["hub"]["position"] for event in document["events"]] == [1, 2, 3, 4, 5, 6]
    assert document["events"][-1]["hub"]["chainHash"] == metadata["head"]["chainHash"]


@pytest.mark.parametrize("what", ["entities", "events", "audit"])
async def test_an_export_as_ndjson_has_a_line_for_each(admin: AsyncClient, what: str) -> None:
    program = await filled(admin)
    answer = await export(admin, program, format="ndjson", what=what)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    entries = (await pull_audit(admin, program, limit=5000)).json()
    # The trail of the export has its own beginning, and not its end.
    assert len(lines) == {"entities": 3, "events": 6, "audit": len(entries) - 1}[what]
    if what == "entities":
        shown = (await admin.get("/api/entities", params={"configId": program})).json()
        assert lines == sorted(shown, key=lambda entity: entity["guid"])


@pytest.mark.parametrize("what", ["events", "audit"])
@pytest.mark.parametrize("format", ["csv", "xlsx"])
async def test_events_and_the_audit_trail_are_one_table(admin: AsyncClient, what: str, format: str) -> None:
    answer = await export(admin, await filled(admin), format=format, what=what)
    if format == "csv":
        rows = csv_of(answer.content)
        assert (len(rows), rows[0]["userId"]) == ({"events": 6, "audit": 8}[what], "agent-7")
    else:
        (sheet,) = openpyxl.load_workbook(io.BytesIO(answer.content)).worksheets
        assert sheet.max_row == {"events": 7, "audit": 9}[what]


async def test_the_file_has_a_safe_name_and_is_kept_by_nobody(admin: AsyncClient) -> None:
    name, program = 'x"; evil\r\n=', await filled(admin)
    assert (await push(admin, program, make_event(data={"entityName": name}))).status_code == 200
    answer = await export(admin, program, format="csv", form=name)
    assert answer.headers["cache-control"] == "no-store"
    name = answer.headers["content-disposition"]
    assert name.startswith('attachment; filename="p-') and name.endswith('Z.csv"') and name.count('"') == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "pdf"},
        {"what": "people"},
        {"format": "csv", "what": "all"},
        {"what": "events", "form": "person"},
        {"header": "x"},
        {"bom": "x"},
        {"form": "persson"},
        {"form": " "},
        {"form": ["", "person"]},
        # What was meant to limit, and says nothing to the hub, is not taken for "everything".
        {"area": ""},
        {"area": ["north", ""]},
        {"type": ""},
        {"entityName": ""},
        {"parent": " "},
        {"q": " "},
        {"q": "???"},
        {"q": "😀", "format": "csv"},
        {"hasConflict": " "},
        {"area_id": "north"},
    ],
)
async def test_what_does_not_go_together_is_refused(admin: AsyncClient, wrong: dict[str, Any]) -> None:
    program = await make_program(admin)
    answer = await export(admin, program, **wrong)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_EXPORT")
    assert (await pull_audit(admin, program)).json() == []


async def test_the_trail_tells_who_took_what(admin: AsyncClient) -> None:
    program = await filled(admin)
    await export(admin, program, format="csv", form="person")
    begun, ended = [entry for entry in (await pull_audit(admin, program)).json() if "export" in entry["action"]]
    assert (begun["action"], ended["action"]) == ("export-begun", "export-ended")
    assert begun["changes"] | {"exportId": ""} == {
        "exportId": "",
        "format": "csv",
        "what": "entities",
        "form": "person",
    }
    assert ended["changes"]["exportId"] == begun["changes"]["exportId"]
    assert (ended["changes"]["outcome"], ended["changes"]["entities"]) == ("complete", 1)
    assert ended["userId"] == ended["actor"] != "agent-7"


@pytest.mark.parametrize("role", ["viewer", "enumerator", "supervisor"])
async def test_exporting_takes_a_program_admin(admin: AsyncClient, client: AsyncClient, role: str) -> None:
    program = await filled(admin)
    person = await make_person(admin, tenantIds=[program], roleAssignments=[{"tenantId": program, "role": role}])
    client.headers.update(bearer((await login(client, person))["token"]))
    answer = await export(client, program)
    assert (answer.status_code, answer.json()["code"]) == (403, "INSUFFICIENT_PERMISSION")


async def test_a_limited_exporter_takes_their_part_only(admin: AsyncClient, client: AsyncClient) -> None:
    program = await make_program(admin)
    await push(
        admin,
        program,
        make_event(entity="n", data={"name": "N", "area_id": "north", "entityName": "individual"}),
        make_event(entity="s", data={"name": "S", "area_id": "south", "entityName": "individual", "secretOfSouth": 1}),
    )
    person = await make_person(
        admin,
        tenantIds=[program],
        roleAssignments=[{"tenantId": program, "role": "program-admin", "areaId": "north"}],
    )
    client.headers.update(bearer((await login(client, person))["token"]))
    for format in ("csv", "ndjson", "xlsx"):
        answer = await export(client, program, format=format, form="individual")
        assert answer.status_code == 200, answer.text
        text = answer.text if format != "xlsx" else str(_cells(answer.content))
        assert "north" in text and "south" not in text and "secretOfSouth" not in text
    limited = await export(client, program, what="entities")
    assert "head" not in limited.json()["metadata"] and "limitedTo" in limited.json()["metadata"]
    for what in ("all", "events", "audit"):
        answer = await export(client, program, what=what)
        assert (answer.status_code, answer.json()["code"]) == (403, "BEYOND_REACH")


def _cells(content: bytes) -> list[Any]:
    return [row for sheet in openpyxl.load_workbook(io.BytesIO(content)) for row in sheet.iter_rows(values_only=True)]


async def guids(client: AsyncClient, program: str, **parameters: Any) -> set[str]:
    """The entities of an export, which are the same in every format."""
    lines = (await export(client, program, format="ndjson", **parameters)).text.splitlines()
    found = {json.loads(line)["guid"] for line in lines}
    document = (await export(client, program, format="json", **parameters)).json()
    assert {entity["guid"] for entity in document["entities"]} == found
    tables = tables_in((await export(client, program, format="csv", **parameters)).content)
    assert {row["_guid"] for name, rows in tables.items() if name.count(".") == 1 for row in rows} == found
    return found


async def test_filters_are_those_of_lists(admin: AsyncClient) -> None:
    program = await filled(admin)
    await push(admin, program, make_event(entity="zoe", data={"name": "Zoë Müller", "area_id": "north"}))
    for parameters, expected in (
        ({"entityName": "person"}, {"ana"}),
        ({"type": "group"}, {"hh"}),
        ({"area": "north"}, {"zoe"}),
        ({"parent": "hh"}, {"ana"}),
        ({"q": "muller"}, {"zoe"}),
        ({"hasConflict": "true"}, set()),
        ({"updatedSince": "2999-01-01T00:00:00.000Z"}, set()),
        ({"updatedSince": "1999-01-01T00:00:00.000Z"}, {"ana", "hh", "nobody", "zoe"}),
    ):
        assert await guids(admin, program, **parameters) == expected, parameters
    shown = (await export(admin, program, area="north")).json()["metadata"]
    assert (shown["what"], shown["filters"]) == ("entities", {"area": ["north"]})
    assert await guids(admin, program, externalId="R-7") == set()
    trail = (await pull_audit(admin, program, limit=5000)).json()
    assert trail[-1]["changes"]["filters"] == {"externalId": ["R-7"]}


async def test_what_generated_clients_send_empty_is_absent(admin: AsyncClient) -> None:
    program = await filled(admin)
    once = ("what", "form", "parent", "externalId", "updatedSince", "hasConflict", "hasDuplicate", "q")
    sent = dict.fromkeys(once, "")
    whole = (await export(admin, program, format="json", header="labels", bom="false", **sent)).json()
    assert (whole["metadata"]["what"], "filters" in whole["metadata"]) == ("all", False)
    assert await guids(admin, program, **sent | {"area": "north", "parent": "hh"}) == set()
    trail = (await pull_audit(admin, program, limit=5000)).json()
    assert trail[-1]["changes"]["filters"] == {"area": ["north"], "parent": ["hh"]}


async def test_the_description_gives_no_default_that_is_empty(admin: AsyncClient) -> None:
    described = (await admin.get("/openapi.json")).json()["paths"]["/api/entities/export"]["get"]["parameters"]
    assert "" not in [parameter["schema"].get("default") for parameter in described]


async def test_another_programs_ids_filter_nothing_out_of_it(admin: AsyncClient) -> None:
    program, other = await make_program(admin), await filled(admin)
    await push(admin, program, make_event(entity="mine", data={"name": "Mine"}))
    for parameters in ({"parent": "hh"}, {"entityName": "person"}, {"q": "ana"}):
        assert await guids(admin, program, **parameters) == set()
    assert await guids(admin, other, parent="hh") == {"ana"}


@pytest.mark.parametrize("wrong", [{"type": "house"}, {"updatedSince": "yesterday"}, {"hasConflict": "perhaps"}])
async def test_a_wrong_filter_is_refused_as_in_lists(admin: AsyncClient, wrong: dict[str, str]) -> None:
    answer = await export(admin, await make_program(admin), **wrong)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_LIST_PARAMETER")


async def test_a_form_that_only_data_names_has_a_table(admin: AsyncClient) -> None:
    program = await filled(admin)
    await push(admin, program, make_event(entity="old", data={"entityName": "retired", "name": "Old"}))
    assert [row["_guid"] for row in csv_of((await export(admin, program, format="csv", form="retired")).content)] == [
        "old"
    ]


async def test_filters_go_with_entities_only(admin: AsyncClient) -> None:
    program = await make_program(admin)
    for what in ("all", "events", "audit"):
        answer = await export(admin, program, what=what, area="north")
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_EXPORT")


async def test_a_form_of_hundreds_of_fields_with_odd_names(admin: AsyncClient) -> None:
    keys = [f"field{number}" for number in range(300)]
    components = [{"type": "textfield", "key": key, "label": "=Same"} for key in keys]
    form = {"id": "f", "name": "../x: y?*", "title": "Wide", "formio": {"components": components}}
    program = await make_program(admin, entityForms=[form])
    await push(admin, program, make_event(data={"entityName": form["name"]} | dict.fromkeys(keys, "v")))
    content = (await export(admin, program, format="csv")).content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["about.json", "_x_ y__.csv"]
    ((row,),) = tables_in(content).values()
    assert [row[f"'=Same ({key})"] for key in keys] == ["v"] * 300
    book = openpyxl.load_workbook(io.BytesIO((await export(admin, program, format="xlsx")).content))
    assert book.sheetnames == [".._x_ y__"]


async def test_nobody_is_left_out_however_many_forms_there_are(
    admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_MOST_FORMS", 3)
    program = await make_program(admin)
    people = [
        make_event(entity=f"p{n}", data={"entityName": f"f{n}", "name": "N", "area_id": f"a{n}"}) for n in range(4)
    ]
    assert (await push(admin, program, *people, make_event(entity="z", data={"name": "Z"}))).status_code == 200
    tables = tables_in((await export(admin, program, format="csv")).content)
    assert {name: [row["_guid"] for row in rows] for name, rows in tables.items()} == {
        "individual.csv": [], "f0.csv": ["p0"], "f1.csv": ["p1"], "without form.csv": ["z"], "other forms.csv": ["p2", "p3"],
    }  # fmt: skip
    [_, last] = tables["other forms.csv"]
    assert (last["entityName"], json.loads(last["_other"])) == ("f3", {"name": "N", "area_id": "a3"})
    assert await guids(admin, program, area="a3") == {"p3"}
    assert await guids(admin, program, entityName="f2") == {"p2"}


async def test_another_program_is_not_in_it(admin: AsyncClient) -> None:
    program, other = await filled(admin), await filled(admin)
    await push(admin, other, make_event(entity="stranger", data={"name": "Stranger", "entityName": "person"}))
    for format in ("json", "ndjson"):
        assert "stranger" not in (await export(admin, program, format=format)).text.lower()


async def test_no_secret_and_no_tie_to_another_system_is_in_it(admin: AsyncClient) -> None:
    provider = {
        "type": "keycloak",
        "fields": {"authority": "https://idp.example", "client_id": "x", "client_secret": "hush-1"},
    }
    bridge = {"type": "mock-sync-server", "url": "https://registry.example", "adapterConfig": {"token": "hush-2"}}
    program = await make_program(
        admin,
        authConfigs=[provider],
        externalSync=bridge,
        entityData=[{"name": "individual", "data": [{"id": "s", "name": "S"}]}],
    )
    answer = await export(admin, program)
    assert "hush-" not in answer.text and "registry.example" not in answer.text and "idp.example" not in answer.text
    assert set(answer.json()["metadata"]["program"]) == {"id", "name", "entityForms"}
    assert len(answer.json()["events"]) == 1


async def test_an_unknown_program_is_not_found(admin: AsyncClient) -> None:
    assert (await export(admin, new_id())).status_code == 404


async def test_an_empty_program_gives_headers_only(admin: AsyncClient) -> None:
    program = await make_program(admin)
    assert tables_in((await export(admin, program, format="csv")).content) == {"individual.csv": []}
    assert (await export(admin, program)).json()["events"] == []
    assert (await export(admin, program, format="ndjson")).content == b""
