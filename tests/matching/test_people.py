"""Made-up people are the same for the same seed, and who is who is known."""

from collections import Counter, defaultdict
from itertools import combinations
from random import Random

from datacollect.testing.people import (
    AGAIN,
    Between,
    FieldTeams,
    Household,
    Kind,
    Registration,
    between,
    in_one_name,
    mistyped,
    respelt,
)
from datacollect.testing.spellings import REGIONS, SPELLINGS


def households(seed: int = 1, people: int = 6_000) -> list[Household]:
    return list(FieldTeams(seed=seed, people=people).households())


def members(of: list[Household]) -> list[Registration]:
    return [member for each in of for member in each.members]


def test_one_seed_gives_the_same_people_and_another_one_others() -> None:
    assert households(seed=3, people=300) == households(seed=3, people=300)
    assert households(seed=3, people=300) != households(seed=4, people=300)


def test_every_difficulty_comes_up_and_who_is_registered_again_was_registered_before() -> None:
    people = members(households())
    assert len({each.guid for each in people}) == len(people) >= 6_000
    kinds = Counter(each.kind for each in people)
    assert all(kinds[kind] >= 20 for kind in AGAIN)
    assert 0.08 < 1 - kinds[Kind.FIRST] / len(people) < 0.25
    seen: defaultdict[int, list[Kind]] = defaultdict(list)
    for each in people:
        seen[each.person.number].append(each.kind)
    assert all(own[0] is Kind.FIRST and Kind.FIRST not in own[1:] for own in seen.values())


def test_a_difficulty_is_what_it_is_called() -> None:
    people = members(households())
    first = {each.person.number: each.data for each in people if each.kind is Kind.FIRST}
    for each in people:
        before = first[each.person.number]
        match each.kind:
            case Kind.COPY:
                assert each.data == before
            case Kind.NO_FAMILY_NAME:
                assert "familyName" not in each.data
            case Kind.SWAPPED:
                assert (each.data["givenName"], each.data["familyName"]) == (before["familyName"], before["givenName"])
            case Kind.AGE_ONLY:
                assert "birthDate" not in each.data and "age" in each.data
            case Kind.FIRST_OF_JANUARY:
                assert each.data["birthDate"].endswith("-01-01")
            case Kind.TYPING:
                assert (each.data["givenName"], each.data["familyName"]) != (before["givenName"], before["familyName"])


def test_households_share_a_phone_and_hold_brothers_sisters_and_twins() -> None:
    there = households()
    assert all(len({m.data["area_id"] for m in each.members}) == 1 for each in there)
    relations = Counter(between(one, two) for each in there for one, two in combinations(each.members, 2))
    assert relations[Between.TWINS] >= 50 and relations[Between.HOUSEHOLD] > 5_000
    assert not relations[Between.SAME]
    shared = [Counter(m.data.get("phone", "")[-7:] for m in each.members if "phone" in m.data) for each in there]
    assert sum(len(phones) == 1 and phones.total() > 1 for phones in shared) > 300
    twins = [(a, b) for each in there for a, b in combinations(each.members, 2) if between(a, b) is Between.TWINS]
    assert all(one.person.given != two.person.given for one, two in twins)


def test_events_name_members_that_were_told_before() -> None:
    told: set[str] = set()
    for each in households(people=200):
        for event in each.events():
            if event["type"] == "add-member":
                assert {member["guid"] for member in event["data"]["members"]} <= told
            told.add(event["entityGuid"])


def test_a_name_may_be_asked_for_in_one_field() -> None:
    assert in_one_name({"givenName": "Awa", "familyName": "Ba", "age": 3}) == {"name": "Awa Ba", "age": 3}
    assert in_one_name({"givenName": "Awa"}) == {"name": "Awa"}


def test_spellings_are_of_names_that_are_drawn() -> None:
    drawn = {name for region in REGIONS for name in (*region.women, *region.men, *region.families)}
    twins = {name for region in REGIONS for pair in region.twins for name in (*pair[0], *pair[1])}
    assert set(SPELLINGS) <= drawn | twins
    assert all(respelt(name, Random(1)) != name for name in SPELLINGS)


def test_a_typing_error_changes_few_letters() -> None:
    dice = Random(5)
    for name in ("Awa", "Mohamed", "Byaruhanga", "Ba"):
        for _ in range(50):
            assert abs(len(mistyped(name, dice)) - len(name)) <= 1
