"""A program's forms in a citizen's language."""

from typing import Any

import pytest

from datacollect.features.selfservice.translations import Translation

FORM: dict[str, Any] = {
    "title": "Person",
    "components": [
        {"type": "textfield", "key": "Name", "label": "Name", "defaultValue": "Name", "placeholder": "As on your card"},
        {
            "type": "select",
            "key": "sex",
            "label": "Sex",
            "data": {"values": [{"label": "Female", "value": "Female"}]},
            "validate": {"customMessage": "Choose one"},
        },
    ],
    "i18n": {
        "fr": {"Name": "Nom", "Female": "Femme", "Choose one": "Choisissez", "Person": "Personne", "Sex": 7},
        "km": {"translation": {"Name": "ឈ្មោះ"}},
        "de": None,
    },
}


def test_a_form_is_given_in_the_language_without_its_translations() -> None:
    shown = Translation(FORM, "fr").form(FORM)
    name, sex = shown["components"]
    assert "i18n" not in shown
    assert (shown["title"], name["label"], name["placeholder"]) == ("Personne", "Nom", "As on your card")
    assert sex["data"]["values"] == [{"label": "Femme", "value": "Female"}]
    assert sex["validate"] == {"customMessage": "Choisissez"}


def test_keys_and_values_are_never_translated() -> None:
    name, sex = Translation(FORM, "fr").form(FORM)["components"]
    assert (name["key"], name["defaultValue"]) == ("Name", "Name")
    assert sex["label"] == "Sex"


def test_the_layout_of_i18next_is_understood() -> None:
    assert Translation(FORM, "km").text("Name") == "ឈ្មោះ"


@pytest.mark.parametrize("language", ["de", "pt", "en"])
def test_a_language_without_translations_gives_the_form_as_it_is(language: str) -> None:
    assert Translation(FORM, language).form(FORM)["components"] == FORM["components"]


@pytest.mark.parametrize("i18n", [None, 7, [], {"fr": []}, {"fr": {"translation": 3, "Name": {}}}])
def test_translations_of_any_shape_break_nothing(i18n: Any) -> None:
    assert Translation({"components": [], "i18n": i18n}, "fr").form({"components": []}) == {"components": []}
