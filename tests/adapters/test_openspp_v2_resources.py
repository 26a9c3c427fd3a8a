"""Records as OpenSPP V2 resources and back; pure."""

from typing import Any

import pytest

from datacollect.adapters.kinds import FieldMapping
from datacollect.adapters.openspp_v2.enrolments import program_id
from datacollect.adapters.openspp_v2.resources import Resources, digests
from datacollect.adapters.port import RecordType
from datacollect.adapters.times import instant

PERSON, GROUP = RecordType.INDIVIDUAL, RecordType.GROUP


def built(data: dict[str, Any], *mappings: FieldMapping, type: RecordType = PERSON) -> dict[str, Any]:
    return Resources(mappings).build(type, data)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"firstName": "Maria", "lastName": "Santos"}, {"given": "Maria", "family": "Santos", "text": "Santos, Maria"}),
        ({"first_name": "Maria"}, {"given": "Maria", "text": "Maria"}),
        ({"fullName": "Maria Santos", "middleName": "C"}, {"middle": "C", "text": "Maria Santos"}),
        ({"firstName": "Ana", "lastName": "Santos", "name": "Maria Santos"}, {"given": "Ana", "family": "Santos", "text": "Santos, Ana"}),
        ({"firstName": "", "first_name": "Maria", "lastName": {"no": "text"}}, {"given": "Maria", "text": "Maria"}),
    ],
)  # fmt: skip
def test_names(data: dict[str, Any], name: dict[str, str]) -> None:
    assert built(data) == {"name": name}


def test_a_mapped_field_goes_before_the_usual_ones() -> None:
    mapping = FieldMapping(form_field="nombre", remote_field="name.given")
    assert built({"nombre": "Maria", "firstName": "No"}, mapping)["name"]["given"] == "Maria"
    assert built({"nombre": "", "firstName": "Yes"}, mapping)["name"]["given"] == "Yes"


@pytest.mark.parametrize(
    ("word", "code"),
    [("male", "1"), ("M", "1"), ("Female", "2"), ("f", "2"), ("other", "9"), ("2", "2"), ("?", "0")],
)
def test_genders(word: str, code: str) -> None:
    assert built({"gender": word})["gender"]["coding"][0]["code"] == code


@pytest.mark.parametrize(
    ("day", "sent"),
    [
        ("1985-03-15", "1985-03-15"),
        ("1985-03-15T22:00:00.000Z", "1985-03-15"),
        ("13/02/2020", "2020-02-13"),
        ("soon", None),
    ],
)
def test_days_are_iso_or_left_out(day: str, sent: str | None) -> None:
    assert built({"dateOfBirth": day}).get("birthDate") == sent


def test_a_day_is_iso_whatever_the_mapping_writes_elsewhere() -> None:
    options = {"inputFormat": "DD/MM/YYYY", "outputFormat": "DD/MM/YYYY"}
    mapping = FieldMapping(form_field="born", remote_field="birthDate", transformer="date", options=options)
    assert built({"born": "05/03/1985"}, mapping)["birthDate"] == "1985-03-05"


@pytest.mark.parametrize("remote", ["extension.x_farm_size", "x_farm_size", "extension.farmSize", "farmSize"])
def test_studio_fields_have_one_key_however_they_are_written(remote: str) -> None:
    url = "urn:openspp:extension:studio-individual"
    mapping = FieldMapping(form_field="farm", remote_field=remote)
    assert built({"farm": "2"}, mapping) == {"extension": {url: {"url": url, "farmSize": "2"}}}


def test_codes_of_several_choices_keep_their_system() -> None:
    mapping = FieldMapping(
        form_field="crops", remote_field="x_crops", transformer="multiselect", options={"system": "urn:crops"}
    )
    extension = built({"crops": ["rice", "maize"]}, mapping)["extension"]["urn:openspp:extension:studio-individual"]
    assert [one["coding"][0]["code"] for one in extension["crops"]] == ["rice", "maize"]


def test_group_fields_and_their_mappings() -> None:
    mappings = [
        FieldMapping(form_field="size", remote_field="quantity"),
        FieldMapping(form_field="town", remote_field="address.city"),
        FieldMapping(form_field="head", remote_field="name.given"),
    ]
    data = {"group_name": "Santos", "groupType": "tribe", "size": "4", "town": "Cebu", "head": "Maria"}
    assert built(data, *mappings, type=GROUP) == {
        "name": "Santos",
        "quantity": 4,
        "address": [{"type": "physical", "city": "Cebu"}],
    }


def test_a_photo_is_sent_without_its_wrapping() -> None:
    mapping = FieldMapping(form_field="photo", remote_field="photo")
    assert built({"photo": "data:image/jpeg;base64,aGk="}, mapping) == {"photo": "aGk="}


def test_a_date_that_cannot_be_read_empties_nothing() -> None:
    born = FieldMapping(form_field="born", remote_field="birthDate", transformer="date")
    assert "born" not in Resources([born]).read(PERSON, {"birthDate": "around 1990"})
    assert Resources([born]).read(PERSON, {"birthDate": ""}).get("born", "") == ""


def test_reading_and_building_come_to_rest() -> None:
    resource = {
        "name": {"given": "Maria", "family": "Santos", "middle": "", "text": "SANTOS MARIA"},
        "birthDate": "1985-03-15",
        "telecom": [{"system": "phone", "value": "1", "use": "home", "rank": 1}],
        "gender": {"coding": [{"system": "urn:iso:std:iso:5218", "code": "1"}], "text": "Male"},
    }
    resources = Resources()
    once = resources.build(PERSON, resources.read(PERSON, resource))
    assert digests(resources.build(PERSON, resources.read(PERSON, once))) == digests(once)


def test_a_program_with_one_form_of_a_kind_gets_its_records_under_that_form() -> None:
    forms = {"hogar": "group", "persona": "individual", "visit": "record"}
    assert Resources(form_types=forms).read(PERSON, {})["entityName"] == "persona"
    assert Resources(form_types={**forms, "child": "individual"}).read(PERSON, {})["entityName"] == "individual"
    assert Resources(form_types={"individual": "individual"}).read(PERSON, {})["entityName"] == "individual"


@pytest.mark.parametrize(
    ("given", "number"),
    [(7, 7), ("7", 7), (" 7 ", 7), (7.0, 7), (True, None), ("x", None), (None, None), (0, None), (-1, None), (7.5, None), ("٧", None)],
)  # fmt: skip
def test_numbers_of_programs_may_be_texts(given: Any, number: int | None) -> None:
    assert program_id(given) == number


@pytest.mark.parametrize("text", ["2026-03-10T12:00:00", "2026-03-10T12:00:00Z", "2026-03-10T14:00:00.000+02:00"])
def test_times_without_a_zone_are_utc(text: str) -> None:
    assert instant(text) == 1773144000000
    assert instant("soon") is instant(None) is None
