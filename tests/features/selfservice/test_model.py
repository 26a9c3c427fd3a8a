"""What citizens see of their record, and what they change in it."""

from typing import Any

import pytest

from datacollect.features.selfservice.model import FALLBACK, Own, OwnForm, OwnForms, checked
from datacollect.kernel.errors import IssueCode

FACTORS = frozenset({"phone", "email", "nationalId", "contact", "contact.mobile"})


def field(key: str, type: str = "textfield", **more: Any) -> dict[str, Any]:
    return {"type": type, "key": key} | more


PERSON: dict[str, Any] = {
    "components": [
        field("name"),
        field("village"),
        field("phone", "phoneNumber"),
        field("score", "number", hidden=True),
        field("pin", "password"),
        field("address", "container", components=[field("street"), field("zip", disabled=True)]),
        field("children", "datagrid", components=[field("age", "number", validate={"min": 0})]),
        field("send", "button"),
    ]
}
DATA: dict[str, Any] = {
    "name": "Ana",
    "village": "Hoa Binh",
    "phone": "+1555",
    "nationalId": "N1",
    "score": 12,
    "pin": "4711",
    "area_id": "cedar-bay",
    "entityName": "individual",
    "externalId": "77",
    "_displayName": "Ana",
    "address": {"street": "Main", "zip": "100", "geo": [1, 2], "externalId": "x"},
    "children": [{"age": 3, "secret": "s"}],
    "notes": "not for her",
}


def forms(*allowed: OwnForm, **changes: Any) -> OwnForms:
    return OwnForms(allowed=allowed, by_name={"individual": PERSON}, factors=FACTORS, **({"fields": None} | changes))


def correction(definition: Any = PERSON, **changes: Any) -> OwnForm:
    return OwnForm(
        **(
            {"type": "update", "label": "Update", "definition": definition, "name": "individual", "standalone": False}
            | changes
        )
    )


def own(**changes: Any) -> Own:
    return Own("p-1", "individual", "individual", DATA | changes)


def codes(result: Any) -> list[tuple[IssueCode, list[str | int]]]:
    return [(issue["code"], issue["path"][1:]) for issue in result.issues]


# -- seeing


def test_what_the_forms_ask_for_is_shown_and_nothing_else() -> None:
    assert forms().visible_in(DATA, "individual") == {
        "name": "Ana",
        "village": "Hoa Binh",
        "phone": "+1555",
        "address": {"street": "Main", "zip": "100"},
        "children": [{"age": 3}],
    }


def test_a_record_of_no_form_shows_the_usual_fields() -> None:
    assert forms().visible_in(DATA, None) == {"name": "Ana", "phone": "+1555"}


def test_allowed_forms_add_what_they_ask_for_and_forms_that_change_no_record_do_not() -> None:
    extra = correction({"components": [field("notes")]})
    report = correction({"components": [field("nationalId")]}, standalone=True)
    assert set(forms(extra, report).visible_in(DATA, None)) == {"name", "phone", "notes"}


def test_a_field_that_one_form_hides_is_hidden() -> None:
    assert "score" not in forms(correction({"components": [field("score")]})).visible_in(DATA, "individual")


def test_a_programs_list_decides_and_never_shows_what_is_internal() -> None:
    shown = forms(
        fields=("nationalId", "address.street", "area_id", "externalId", "_displayName", "entityName", "gone")
    )
    assert shown.visible_in(DATA, "individual") == {"nationalId": "N1", "address": {"street": "Main"}}
    assert forms(fields=("address",)).visible_in(DATA, None)["address"] == {
        "street": "Main",
        "zip": "100",
        "geo": [1, 2],
        "externalId": "x",
    }
    assert forms(fields=()).visible_in(DATA, "individual") == {}


# -- changing


def test_what_differs_is_a_change_and_what_comes_back_is_none() -> None:
    sent = forms().visible_in(DATA, "individual") | {
        "village": "Da Lat",
        "send": True,
        "submit": True,
        "externalId": "9",
    }
    result = checked(forms(), correction(), own(), sent)
    assert codes(result) == []
    assert result.data == {"village": "Da Lat"}


def test_nothing_that_differs_is_taken_as_it_was_sent() -> None:
    assert checked(forms(), correction(), own(), {"name": "Ana"}).data == {"name": "Ana"}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"phone": "+666"}, IssueCode.LOGIN_FACTOR),
        ({"phone": ""}, IssueCode.LOGIN_FACTOR),
        ({"nationalId": None}, IssueCode.LOGIN_FACTOR),
        ({"nothing": None}, IssueCode.UNKNOWN_FIELD),
        ({"nationalId": "N1"}, IssueCode.LOGIN_FACTOR),
        ({"email": "a@b.test"}, IssueCode.LOGIN_FACTOR),
        ({"area_id": "cedar-bay"}, IssueCode.NOT_WRITABLE),
        ({"parentId": "hh"}, IssueCode.NOT_WRITABLE),
        ({"members": []}, IssueCode.NOT_WRITABLE),
        ({"_displayName": "Ana"}, IssueCode.NOT_WRITABLE),
        ({"entitlements": [{"amount": 1}]}, IssueCode.NOT_WRITABLE),
        ({"enrolledPrograms": [1]}, IssueCode.NOT_WRITABLE),
        ({"notes": "not for her"}, IssueCode.UNKNOWN_FIELD),
        ({"children": [{"age": -1}]}, IssueCode.FORM_MISMATCH),
        ({"children": [{"wage": 1}]}, IssueCode.UNKNOWN_FIELD),
        ({"address": {"geo": [1, 2]}}, IssueCode.UNKNOWN_FIELD),
    ],
)
def test_what_is_not_theirs_to_set_is_refused_by_field(sent: dict[str, Any], code: IssueCode) -> None:
    """Also where the value is the record's own, unless it was shown: the answer must not tell what it is."""
    assert [found for found, _ in codes(checked(forms(), correction(), own(), sent))] == [code]


def test_a_form_that_asks_for_a_login_factor_does_not_make_it_writable() -> None:
    asks = correction({"components": [field("phone"), field("contact", "container", components=[field("mobile")])]})
    result = checked(forms(asks), asks, own(contact={"mobile": "1"}), {"phone": "+666", "contact": {"mobile": "2"}})
    assert [code for code, _ in codes(result)] == [IssueCode.LOGIN_FACTOR] * 2


def test_a_field_that_is_taken_as_a_whole_takes_no_login_factor_along() -> None:
    whole = correction({"components": [field("reach", "address")]})
    taken = OwnForms(allowed=(whole,), by_name={}, factors=frozenset({"reach.mobile"}))
    held = Own("p-1", "individual", None, {"reach": {"mobile": "1"}})
    assert [code for code, _ in codes(checked(taken, whole, held, {"reach": {"mobile": "2"}}))] == [
        IssueCode.LOGIN_FACTOR
    ]


@pytest.mark.parametrize("emptied", ["", None, 7])
def test_an_object_that_holds_a_login_factor_cannot_be_emptied(emptied: Any) -> None:
    asks = correction({"components": [field("reach", "container", components=[field("street"), field("mobile")])]})
    taken = OwnForms(allowed=(asks,), by_name={}, factors=frozenset({"reach.mobile"}))
    held = Own("p-1", "individual", None, {"reach": {"street": "Main", "mobile": "1"}})
    assert IssueCode.NOT_WRITABLE in [code for code, _ in codes(checked(taken, asks, held, {"reach": emptied}))]


def test_an_object_keeps_what_is_not_the_forms_to_write() -> None:
    result = checked(forms(), correction(), own(), {"address": {"street": "Side", "zip": "666"}})
    assert codes(result) == []
    assert result.data == {"address": DATA["address"] | {"street": "Side"}}


def test_an_object_keeps_what_nobody_may_set_though_a_form_asks_for_it() -> None:
    asking = correction({"components": [field("address", "container", components=[field("street"), field("area_id")])]})
    held = own(name="Ana", address={"street": "Main", "area_id": "A1"})
    result = checked(forms(asking), asking, held, {"address": {"street": "Side"}})
    assert (codes(result), result.data) == ([], {"address": {"street": "Side", "area_id": "A1"}})


@pytest.mark.parametrize(
    ("rows", "written"),
    [
        ([{"age": 4}], [{"age": 4, "secret": "s"}]),
        ([{"age": 9}, {"age": 3}], [{"age": 9}, {"age": 3, "secret": "s"}]),
        ([{"age": 3}, {"age": 9}], [{"age": 3, "secret": "s"}, {"age": 9}]),
        ([], []),
    ],
)
def test_rows_keep_what_is_not_shown_of_them(rows: list[Any], written: list[Any]) -> None:
    result = checked(forms(), correction(), own(), {"children": rows})
    assert codes(result) == []
    assert result.data == {"children": written}


OFFICE_ROWS: dict[str, Any] = {
    "components": [
        field(
            "children",
            "datagrid",
            components=[field("name"), field("amount", "number", disabled=True), field("note", hidden=True)],
        )
    ]
}
CHILDREN = [{"name": "Al", "amount": 50, "note": "n1"}, {"name": "Bo", "amount": 60, "note": "n2"}]


def of_rows(*sent: dict[str, Any], held: list[Any] = CHILDREN, **grid: Any) -> Any:
    [children] = OFFICE_ROWS["components"]
    asks = correction({"components": [children | grid]})
    taken = OwnForms(allowed=(asks,), by_name={})
    return checked(taken, asks, Own("p-1", "individual", None, {"children": held}), {"children": list(sent)})


def test_a_corrected_row_keeps_the_staffs_values_when_another_one_is_added_or_removed() -> None:
    al, bo, cy = {"name": "Ali", "amount": 50}, {"name": "Bob", "amount": 60}, {"name": "Cy"}
    kept_al, kept_bo = CHILDREN[0] | {"name": "Ali"}, CHILDREN[1] | {"name": "Bob"}
    assert of_rows(al, {"name": "Bo", "amount": 60}, cy).data == {"children": [kept_al, CHILDREN[1], cy]}
    assert of_rows(al, bo, cy).data == {"children": [kept_al, kept_bo, cy]}
    assert of_rows(bo).data == {"children": [kept_bo]}
    assert of_rows(bo, al).data == {"children": [kept_bo, kept_al]}


def test_where_nobody_can_say_which_rows_were_changed_the_staffs_values_are_not_dropped() -> None:
    result = of_rows({"name": "Ali"}, {"name": "Bob"}, {"name": "Cy"})
    assert codes(result) == [(IssueCode.NOT_WRITABLE, ["children"])]
    assert "one after the other" in result.issues[0]["message"]
    bare = of_rows({"name": "Ali"}, {"name": "Cy"}, held=[{"name": "Al"}])
    assert (codes(bare), bare.data) == ([], {"children": [{"name": "Ali"}, {"name": "Cy"}]})


@pytest.mark.parametrize("kind", ["datagrid", "editgrid", "dynamicWizard"])
def test_a_grid_may_have_its_rows_for_good(kind: str) -> None:
    al, bo = {"name": "Ali", "amount": 50}, {"name": "Bo", "amount": 60}
    steady = {"type": kind, "disableAddingRemovingRows": True}
    refused = [(IssueCode.NOT_WRITABLE, ["children"])]
    assert of_rows(al, bo, **steady).data == {"children": [CHILDREN[0] | {"name": "Ali"}, CHILDREN[1]]}
    for sent in ([al], [al, bo, {"name": "Cy"}], []):
        assert codes(of_rows(*sent, **steady)) == refused
    assert of_rows({"name": "Al"}, held=[], **steady).data == {"children": [{"name": "Al"}]}


@pytest.mark.parametrize("emptied", ["", None, {}])
def test_rows_that_are_there_for_good_cannot_be_emptied_nor_left_out_of_an_object(emptied: Any) -> None:
    grid = field("children", "datagrid", components=[field("name")], disableAddingRemovingRows=True)
    asks = correction({"components": [field("home", "container", components=[field("street"), grid])]})
    taken = OwnForms(allowed=(asks,), by_name={})
    held = {"home": {"street": "Main", "children": [{"name": "Al"}]}}
    own = Own("p-1", "individual", None, held)
    result = checked(taken, asks, own, {"home": {"children": emptied}})
    assert (IssueCode.NOT_WRITABLE, ["home", "children"]) in codes(result)
    assert checked(taken, asks, own, {"home": {"street": "Side"}}).data == {"home": held["home"] | {"street": "Side"}}


def test_rows_that_look_alike_stay_themselves() -> None:
    twins = [{"age": 3, "secret": "a"}, {"age": 3, "secret": "b"}]
    result = checked(forms(), correction(), own(children=twins), {"children": [{"age": 3}, {"age": 3}, {"age": 9}]})
    assert result.data == {"children": [*twins, {"age": 9}]}


def test_a_mebibyte_of_rows_is_not_held_against_each_row_of_the_record() -> None:
    """Each with each, it would take most of an hour."""
    rows = [{"age": age} for age in range(2000)]
    changed = [{"age": -1 - age} for age in range(60_000)]
    result = checked(forms(), correction(), own(children=rows), {"children": [*changed, *rows]})
    assert result.data["children"][60_000:] == rows


def test_a_login_factor_that_the_record_does_not_show_comes_back_empty() -> None:
    """As a form sends it that asks for one."""
    result = checked(forms(fields=("name",)), correction(), own(), {"phone": "", "village": "Hue"})
    assert (codes(result), result.data) == ([], {"village": "Hue"})


def test_a_secret_in_an_object_is_kept_by_who_does_not_see_it() -> None:
    asks = correction({"components": [field("safe", "container", components=[field("pin", "password"), field("box")])]})
    taken = OwnForms(allowed=(asks,), by_name={})
    held = Own("p-1", "individual", None, {"safe": {"pin": "4711", "box": "A"}})
    assert checked(taken, asks, held, {"safe": {"box": "B"}}).data == {"safe": {"pin": "4711", "box": "B"}}
    assert taken.visible_in(held.data, None) == {"safe": {"box": "A"}}
    assert taken.sent_in({"safe": {"pin": "4711", "box": "B"}, "age": 3}, None) == {"safe": {"box": "B"}, "age": 3}


def test_a_form_that_asks_for_what_is_internal_does_not_show_it() -> None:
    asks = correction({"components": [field("area_id"), field("members"), field("name")]})
    assert forms(asks).visible_in(DATA | {"members": [1]}, None) == {"name": "Ana", "phone": "+1555"}


def test_rows_that_a_program_does_not_show_can_be_written() -> None:
    result = checked(forms(fields=("name",)), correction(), own(), {"children": [{"age": 4}]})
    assert (codes(result), result.data) == ([], {"children": [{"age": 4, "secret": "s"}]})


@pytest.mark.parametrize("blank", [[{"name": "", "amount": None, "ill": False}], [{"name": ""}], [], "", None])
def test_rows_that_a_program_does_not_show_come_back_blank_and_stay(blank: Any) -> None:
    """As a form sends them that was given none; staff keep something in each."""
    [office] = OFFICE_ROWS["components"]
    children = office | {"components": [*office["components"], field("ill", "checkbox")]}
    home = field("home", "container", components=[field("street"), children])
    asks = correction({"components": [field("village"), children, home]})
    taken = OwnForms(allowed=(asks,), by_name={}, fields=("village", "home.street"))
    held = {"village": "Hue", "children": CHILDREN, "home": {"street": "Main", "children": CHILDREN}}
    sent = {"village": "Da Lat", "children": blank, "home": {"street": "Side", "children": blank}}
    result = checked(taken, asks, Own("p-1", "individual", None, held), sent)
    kept_home = {"street": "Side", "children": CHILDREN}
    assert (codes(result), result.data) == ([], {"village": "Da Lat", "home": kept_home})


def test_a_report_keeps_what_nobody_has_filled_in() -> None:
    """Whoever looks at it sees what was asked, and that what must be there was left empty is told."""
    where = field("where", "container", components=[field("street", validate={"required": True})])
    report = correction(
        {"components": [where, field("people", "datagrid", components=[field("name")])]}, standalone=True
    )
    result = checked(forms(report), report, own(), {"where": {"street": ""}, "people": [{"name": ""}]})
    assert result.data == {"where": {"street": ""}, "people": [{"name": ""}]}
    assert codes(result) == [(IssueCode.FORM_MISMATCH, ["where", "street"])]


def test_hidden_fields_are_dropped_and_secrets_are_taken() -> None:
    result = checked(forms(), correction(), own(), {"score": 99, "pin": "4711"})
    assert codes(result) == []
    assert result.data == {"pin": "4711"}


@pytest.mark.parametrize("flag", ["hidden", "disabled"])
def test_what_stands_in_a_hidden_or_disabled_panel_is_dropped(flag: str) -> None:
    office = {"type": "panel", "key": "office", "components": [field("amount", "number"), field("note")], flag: True}
    asks = correction({"components": [field("village"), office]})
    taken = OwnForms(allowed=(asks,), by_name={})
    held = Own("p-1", "individual", None, {"village": "Hue", "amount": 50, "note": "do not tell"})
    assert set(taken.visible_in(held.data, None)) == ({"village"} if flag == "hidden" else set(held.data))
    result = checked(taken, asks, held, {"village": "Da Lat", "amount": 5000, "note": ""})
    assert (codes(result), result.data) == ([], {"village": "Da Lat"})


def test_a_value_of_another_shape_with_a_closed_part_cannot_be_changed() -> None:
    parts = [field("village"), field("amount", "number", disabled=True)]
    asks = correction({"components": [field("name"), field("more", "form", components=parts)]})
    taken = OwnForms(allowed=(asks,), by_name={})
    held = Own("p-1", "individual", None, {"name": "Ana", "more": {"data": {"village": "Hue", "amount": 50}}})
    shown = taken.visible_in(held.data, None)
    back = checked(taken, asks, held, shown | {"name": "Ann"})
    assert (codes(back), back.data) == ([], {"name": "Ann"})
    changed = checked(taken, asks, held, {"more": {"data": {"village": "Da Lat"}}})
    assert codes(changed) == [(IssueCode.NOT_WRITABLE, ["more"])]


def test_a_value_with_a_hidden_part_comes_back_empty() -> None:
    parts = [field("village"), field("amount", "number", hidden=True)]
    inner = field("home", "container", components=[field("street"), field("more", "tree", components=parts)])
    asks = correction({"components": [inner]})
    taken = OwnForms(allowed=(asks,), by_name={})
    kept = {"more": {"data": {"village": "Hue", "amount": 50}}}
    held = Own("p-1", "individual", None, {"home": {"street": "Main"} | kept})
    assert taken.visible_in(held.data, None) == {"home": {"street": "Main"}}
    sent = {"home": {"street": "Side", "more": {"data": {"village": ""}, "children": []}}}
    result = checked(taken, asks, held, sent)
    assert (codes(result), result.data) == ([], {"home": {"street": "Side"} | kept})


def test_a_report_need_not_hold_what_nobody_fills_in() -> None:
    office = {"type": "panel", "components": [field("by", validate={"required": True})], "disabled": True}
    report = correction({"components": [field("what"), office]}, standalone=True)
    result = checked(forms(report), report, own(), {"what": "Birth", "by": "me"})
    assert (codes(result), result.data) == ([], {"what": "Birth"})


@pytest.mark.parametrize("standalone", [True, False])
@pytest.mark.parametrize("is_in_panel", [True, False])
def test_a_row_need_not_hold_what_nobody_fills_in(standalone: bool, is_in_panel: bool) -> None:
    number = field("no", "number", validate={"required": True})
    panel = {"type": "panel", "components": [number], "disabled": True}
    closed = panel if is_in_panel else number | {"disabled": True}
    age = field("age", "number")
    grid = field(
        "children", "datagrid", components=[age, field("at", "container", components=[field("street"), closed])]
    )
    asks = correction({"components": [grid]}, standalone=standalone)
    sent = {"children": [{"age": 3, "at": {"street": "Main", "no": 7}}]}
    result = checked(forms(asks), asks, own(children=[]), sent)
    assert codes(result) == []
    assert result.data == {"children": [{"age": 3, "at": {"street": "Main"}}]}
    wrong = checked(forms(asks), asks, own(children=[]), {"children": [*sent["children"], {"age": "three"}]})
    assert codes(wrong) == [(IssueCode.FORM_MISMATCH, ["children", 1, "age"])]


def test_what_staff_keep_in_a_row_may_be_what_the_form_would_not_take() -> None:
    held = [{"name": "Al", "amount": "about 50", "note": "n1"}]
    result = of_rows({"name": "Ali", "amount": "about 50"}, held=held)
    assert (codes(result), result.data) == ([], {"children": [held[0] | {"name": "Ali"}]})


def test_a_report_is_kept_as_the_form_asks_for_it_and_must_be_complete() -> None:
    report = correction({"components": [field("what", validate={"required": True}), field("phone")]}, standalone=True)
    complete = checked(forms(report), report, own(), {"what": "Birth", "phone": "+666", "submit": True})
    assert (codes(complete), complete.data) == ([], {"what": "Birth", "phone": "+666"})
    assert codes(checked(forms(report), report, own(), {"phone": "1"})) == [(IssueCode.FORM_MISMATCH, ["what"])]
    assert codes(checked(forms(report), report, own(), {"what": "x", "more": 1})) == [
        (IssueCode.UNKNOWN_FIELD, ["more"])
    ]


def test_a_report_says_of_which_kind_it_is() -> None:
    kind = field("kind", "hidden", defaultValue="complaint")
    about = field("about", "container", components=[field("who"), kind])
    report = correction({"components": [field("what"), kind, about]}, standalone=True)
    sent = {"what": "No water", "kind": "complaint", "about": {"who": "us", "kind": "complaint"}}
    result = checked(forms(report), report, own(), sent)
    assert (codes(result), result.data) == ([], sent)


def test_a_report_without_a_form_keeps_what_is_sent() -> None:
    report = correction(None, standalone=True)
    what = {"x": 1, "externalId": "7"}
    assert checked(forms(report), report, own(), {"what": what, "externalId": "7"}).data == {"what": what}


def test_many_mistakes_are_told_up_to_a_limit() -> None:
    assert len(checked(forms(), correction(), own(), {f"x{n}": 1 for n in range(200)}).issues) == 50


# -- the form of a program that allows none


def test_the_fallback_is_the_records_own_form_without_what_nobody_may_change_here() -> None:
    [fallback] = forms().of(own())
    shown = fallback.shown("en")
    keys = [component["key"] for component in shown["formio"]["components"]]
    assert (shown["type"], shown["label"]) == (FALLBACK, "Update Profile")
    assert keys == ["name", "village", "score", "pin", "address", "children", "send"]
    assert checked(forms(), fallback, own(), {"village": "Da Lat"}).data == {"village": "Da Lat"}
    assert codes(checked(forms(), fallback, own(), {"phone": "+666"}))[0][0] is IssueCode.LOGIN_FACTOR


def test_login_factors_are_taken_out_of_the_fallback_wherever_the_layout_has_them() -> None:
    layout = {"components": [{"type": "columns", "columns": [{"components": [field("phone"), field("name")]}]}]}
    taken = OwnForms(allowed=(), by_name={"individual": layout}, factors=FACTORS)
    [fallback] = taken.of(own())
    assert set(fallback.fields.below) == {"name"}


def test_a_record_without_a_form_has_a_line_for_each_text_it_shows() -> None:
    bare = OwnForms(allowed=(), by_name={}, factors=FACTORS)
    [fallback] = bare.of(Own("p-1", "individual", None, {"name": "Ana", "phone": "+1555", "age": 4}))
    assert fallback.shown("en")["formio"]["components"] == [
        {"type": "textfield", "key": "name", "label": "Name", "input": True}
    ]


def test_there_is_no_fallback_where_nothing_can_be_changed_or_forms_are_allowed() -> None:
    assert OwnForms(allowed=(), by_name={}, factors=FACTORS).of(Own("p", "group", None, {"phone": "1"})) == ()
    allowed = correction()
    assert forms(allowed).of(own()) == (allowed,)
