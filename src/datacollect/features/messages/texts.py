"""What messages say, in the languages the hub speaks; a program may say it in its own words.

A text for a phone is 160 characters of the alphabet that all phones have, or it costs twice: without `ê`, `ç` and their
like. No text holds anything of a record. For languages that are not here a program brings its own words.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from datacollect.features.messages.model import Purpose
from datacollect.kernel.languages import negotiated
from datacollect.kernel.tenancy import Tenant

_DEFAULT_LANGUAGE = "en"

_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")
_MOST_PROGRAM_NAME = 60


@dataclass(frozen=True, slots=True)
class Text:
    """`subject` is for mails only."""

    subject: str
    text: str


def _texts(otp: Text, decided: Text, due: Text, waiting: Text, test: Text) -> Mapping[Purpose, Text]:
    return {
        Purpose.OTP: otp,
        Purpose.REVIEW_DECIDED: decided,
        Purpose.REVIEW_DUE: due,
        Purpose.REVIEW_WAITING: waiting,
        Purpose.TEST: test,
    }


TEXTS: Mapping[str, Mapping[Purpose, Text]] = {
    "en": _texts(
        Text(
            "Your code for {program}",
            "{code} is your code for {program}. It is valid for {minutes} minutes. Do not share it.",
        ),
        Text(
            "News about your request",
            "There is news about your request at {program}. Sign in to read it.",
        ),
        Text("Reviews are due", "Reviews are due at {program}. Sign in to see them."),
        Text("Requests wait for review", "Requests wait for review at {program}. Sign in to see them."),
        Text("A test message", "This is a test message of {program}. Nothing is to be done."),
    ),
    "fr": _texts(
        Text(
            "Votre code pour {program}",
            "{code} est votre code pour {program}. Il est valable {minutes} minutes. Ne le partagez pas.",
        ),
        Text(
            "Du nouveau sur votre demande",
            "Il y a du nouveau sur votre demande : {program}. Connectez-vous pour lire la suite.",
        ),
        Text("Des revues sont dues", "Des revues sont dues : {program}. Connectez-vous pour les voir."),
        Text(
            "Des demandes attendent une revue",
            "Des demandes attendent une revue : {program}. Connectez-vous pour les voir.",
        ),
        Text("Un message d'essai", "Ceci est un message d'essai de {program}. Il n'y a rien à faire."),
    ),
}


def compose(tenant: Tenant, purpose: Purpose, *, language: str | None = None, **values: str) -> Text:
    """What to say, in the language, or the first of the program's own that there are words for, or English.

    `values` are what the texts of that purpose have gaps for: `code` and `minutes` of a code. `program` is given.
    """
    found = _words(tenant, purpose, language)
    gaps = {"program": tenant.name[:_MOST_PROGRAM_NAME], **values}
    return Text(_filled(found.subject, gaps), _filled(found.text, gaps))


def best_language(tenant: Tenant, accepted: str | None) -> str:
    """Of the program's languages the one that an `Accept-Language` header likes best; without one, the first."""
    return negotiated(tenant.messages.languages, asked=None, header=accepted)


def _words(tenant: Tenant, purpose: Purpose, language: str | None) -> Text:
    rules = tenant.messages
    own = rules.texts.get(_config_key(purpose), {})
    for wanted in (language, *rules.languages, _DEFAULT_LANGUAGE):
        if wanted is None:
            continue
        for name in _from_narrow_to_wide(wanted):
            ours = TEXTS.get(name, TEXTS[_DEFAULT_LANGUAGE])[purpose]
            if name in own:
                return Text(ours.subject, own[name])
            if name in TEXTS:
                return ours
    return TEXTS[_DEFAULT_LANGUAGE][purpose]


def _config_key(purpose: Purpose) -> str:
    first, *others = purpose.split("-")
    return "".join((first, *(word.capitalize() for word in others)))


def _from_narrow_to_wide(tag: str) -> Iterator[str]:
    """`fr-CA`, and then `fr`."""
    tag = tag.lower()
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]


def _filled(text: str, gaps: Mapping[str, str]) -> str:
    """Once: what is put in is not looked through for gaps again."""
    return _PLACEHOLDER.sub(lambda gap: gaps.get(gap[1], gap[0]), text)
