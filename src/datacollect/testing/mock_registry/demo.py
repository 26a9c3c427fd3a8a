"""Made-up people, always the same ones: the first so many of a list that does not end."""

import random
from typing import Any

from datacollect.testing.mock_registry.engine import SCHEME, MockRegistry

_FIRST = {
    "1": ("Amadi", "Bao", "Carlos", "Dawit", "Emeka", "Farid", "Gabriel", "Hassan", "Ivan", "Joon", "Kofi", "Luis"),
    "2": ("Aisha", "Binh", "Carmen", "Desta", "Esi", "Fatima", "Grace", "Hana", "Ines", "Jamila", "Kavita", "Leila"),
}
_LAST = (
    "Abebe",
    "Cruz",
    "Diallo",
    "Espinosa",
    "Farah",
    "Gurung",
    "Haddad",
    "Kamau",
    "Mensah",
    "Nguyen",
    "Okoye",
    "Rivera",
)
_VILLAGES = ("cedar-bay", "east-hill", "north-field", "river-side")
_IN_A_HOUSEHOLD = 4


def add_demo_people(registry: MockRegistry, count: int) -> int:
    """As many persons, in households of up to four. Returns how many are new: those that are there are not added again."""
    drawn = random.Random(20260101)
    people = [_person(drawn, number) for number in range(count)]
    known = {one["identifier_value"] for person in registry.persons() for one in person["identifiers"]}
    new = [person for person in people if person["identifiers"][0]["identifier_value"] not in known]
    for first in range(0, len(new), _IN_A_HOUSEHOLD):
        household = [registry.add_person(**person) for person in new[first : first + _IN_A_HOUSEHOLD]]
        name = f"{household[0]['family_name']} household"
        area = household[0]["attributes"]["area_id"]
        registry.add_group(
            name, members=[one["uuid"] for one in household], group_type="household", attributes={"area_id": area}
        )
    return len(new)


def _person(drawn: random.Random, number: int) -> dict[str, Any]:
    gender = drawn.choice("12")
    born = f"{drawn.randint(1950, 2020)}-{drawn.randint(1, 12):02}-{drawn.randint(1, 28):02}"
    card = {"identifier_type": "national_id", "identifier_value": f"D-{number + 1:05}", "identifier_scheme_id": SCHEME}
    return {
        "given_name": drawn.choice(_FIRST[gender]),
        "family_name": drawn.choice(_LAST),
        "date_of_birth": born,
        "gender": gender,
        "attributes": {"area_id": drawn.choice(_VILLAGES)},
        "identifiers": [card],
    }
