"""`python -m bench.matching`: who is found twice, and who is wrongly taken for another.

`febrl` measures the hub beside other libraries on sets that are public, `field` on people made up as field teams register
them (`datacollect.testing.people`), by what makes each of them hard to find.
"""

import argparse
import asyncio
import importlib
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from bench.client import BenchError
from bench.detection import Compared, detect, own_database
from bench.machine import machine_facts
from bench.pairs import Figures, Pair, by_kind, figures, pair_of
from bench.report import Report
from bench.runner import say
from datacollect.db import Database
from datacollect.testing.people import FieldTeams, Household, Kind, Registration, between, form

_EXAMPLES = 4


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.matching", description=__doc__)
    parser.add_argument("measure", choices=("febrl", "field", "both"), nargs="?", default="both")
    parser.add_argument("--sets", type=int, choices=(1, 2, 3, 4), nargs="+", default=[1, 2, 3, 4], help="febrl: which")
    parser.add_argument("--alone", action="store_true", help="febrl: the hub only")
    parser.add_argument("--people", type=int, default=20_000, help="field: registrations (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="field: other people for another number (%(default)s)")
    parser.add_argument("--examples", type=int, default=0, help="field: show so many mistakes of each kind")
    parser.add_argument("--out", type=Path, help="file for the JSON result (standard output)")
    options = parser.parse_args(argv)
    try:
        asyncio.run(_run(options))
    except BenchError as error:
        say(f"failed: {error}")
        return 1
    return 0


async def _run(options: argparse.Namespace) -> None:
    shown = {name: value for name, value in vars(options).items() if name != "out"}
    report = Report(options.out, machine=machine_facts(), options=shown)
    async with own_database() as database:
        if options.measure != "field":
            for number in options.sets:
                await _febrl(report, database, number, alone=options.alone)
        if options.measure != "febrl":
            for whole_names in (False, True):
                await _field(report, database, options, whole_names=whole_names)
    report.finish(complete=True)


# -- FEBRL


def _linkers() -> Any:
    try:
        return importlib.import_module("bench.linkers")
    except ModuleNotFoundError as error:
        raise BenchError(
            f"{error.name} is not installed: the FEBRL sets and the other libraries come with the dependency group"
            " `bench` (UV_PROJECT_ENVIRONMENT=.venv .venv/bin/uv sync --all-extras --group bench)"
        ) from None


async def _febrl(report: Report, database: Database, number: int, *, alone: bool) -> None:
    linkers = _linkers()
    data = linkers.febrl(number)
    records = data.records()
    events = [
        {"type": "create-individual", "entityGuid": record, "data": {"entityName": "individual", **told}}
        for record, told in records.items()
    ]
    detected = await detect(database, f"febrl-{number}", [_febrl_form(records.values())], events)
    _tell(
        report, f"febrl{number}/hub", len(records), figures(detected.found, data.truth), detected.seconds,
        candidates=figures(detected.compared.keys(), data.truth).recall, compared=len(detected.compared),
        cpu_seconds=round(detected.cpu_seconds, 1),
    )  # fmt: skip
    for name, link in {} if alone else linkers.linkers().items():
        cpu = time.process_time()
        linked = link(data)
        cpu = time.process_time() - cpu
        _tell(
            report, f"febrl{number}/{name}", len(records), figures(linked.pairs, data.truth), linked.seconds,
            candidates=figures(linked.candidates, data.truth).recall, compared=len(linked.candidates),
            cpu_seconds=round(cpu, 1),
        )  # fmt: skip


def _febrl_form(records: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """A form of these fields. What each of them says the hub sees from its name, as from anybody's form."""
    keys = sorted({key for told in records for key in told})
    components = [{"type": "textfield", "key": key, "input": True} for key in keys]
    return {"id": "f-individual", "name": "individual", "title": "Person", "formio": {"components": components}}


def _tell(
    report: Report,
    key: str,
    records: int,
    of: Figures,
    seconds: float,
    *,
    candidates: float,
    compared: int,
    **more: float,
) -> None:
    cell = {
        "key": key, "records": records, **of.shown(), "candidate_recall": int(candidates * 10_000) / 10_000,
        "compared": compared, "seconds": round(seconds, 2), "load": round(os.getloadavg()[0], 1),
        **more,
    }  # fmt: skip
    report.add(cell)
    say(
        f"{key:<44} P {of.precision:.4f}  R {of.recall:.4f}  F1 {of.f1:.4f}  wrong {of.wrong}  missed {of.missed}"
        f"  candidates {candidates:.4f} of {compared}  {seconds:.1f} s {more}"
    )


# -- people as field teams register them


async def _field(report: Report, database: Database, options: argparse.Namespace, *, whole_names: bool) -> None:
    names = "one-name" if whole_names else "names-in-parts"
    households = list(FieldTeams(seed=options.seed, people=options.people).households())
    people = {member.guid: member for each in households for member in each.members}
    events = (event for each in households for event in each.events(whole_names=whole_names))
    detected = await detect(database, f"field-{names}-{options.people}", [form(whole_names=whole_names)], events)
    compared = {pair: each for pair, each in detected.compared.items() if pair[0] in people and pair[1] in people}
    found = [pair for pair in detected.found if pair in compared]
    truth = _same_people(people.values())
    _tell(
        report, f"field/{names}/all", len(people), figures(found, truth), detected.seconds,
        candidates=figures(compared.keys(), truth).recall, compared=len(compared),
        cpu_seconds=round(detected.cpu_seconds, 1),
    )  # fmt: skip
    kinds = {guid: member.kind.value for guid, member in people.items()}
    reached = by_kind(compared.keys(), truth, kinds)
    for kind, of in by_kind(found, truth, kinds).items():
        if kind != Kind.FIRST.value:
            _tell(
                report, f"field/{names}/{kind}", sum(each == kind for each in kinds.values()), of, 0.0,
                candidates=reached[kind].recall, compared=reached[kind].right + reached[kind].wrong,
            )  # fmt: skip
    _tell_mistakes(report, names, people, households, set(found), truth)
    _show_examples(people, compared, set(found), truth, most=options.examples)


def _same_people(people: Iterable[Registration]) -> set[Pair]:
    registered = defaultdict(list)
    for each in people:
        registered[each.person.number].append(each.guid)
    return {pair_of(*pair) for guids in registered.values() for pair in combinations(guids, 2)}


def _tell_mistakes(
    report: Report,
    names: str,
    people: Mapping[str, Registration],
    households: Iterable[Household],
    found: set[Pair],
    truth: set[Pair],
) -> None:
    """Whom the wrongly paired are to each other, beside how many there are who could be taken for one another so."""
    there = Counter(between(one, other).value for each in households for one, other in combinations(each.members, 2))
    wrong = Counter(between(people[one], people[other]).value for one, other in found - truth)
    for relation in sorted(wrong.keys() | there.keys()):
        report.add({
            "key": f"field/{names}/wrongly/{relation}", "wrong": wrong[relation], "registered_together": there[relation]
        })  # fmt: skip
        say(f"field/{names}: wrongly paired, {relation}: {wrong[relation]} (registered together: {there[relation]})")


def _show_examples(
    people: Mapping[str, Registration],
    compared: Mapping[Pair, Compared],
    found: set[Pair],
    truth: set[Pair],
    *,
    most: int,
) -> None:
    """Mistakes, for the reader at the terminal: made-up people, so nobody is named."""
    shown: Counter[str] = Counter()
    for pair in [*sorted(found - truth), *sorted(truth - found)]:
        one, other = people[pair[0]], people[pair[1]]
        if pair in found:
            what = f"wrongly paired, {between(one, other).value}"
        else:
            later = other if one.kind is Kind.FIRST else one
            what = f"missed, {later.kind.value}" + ("" if pair in compared else ", never compared")
        shown[what] += 1
        if shown[what] > most:
            continue
        say(what)
        for each in (one, other):
            say(f"    {_told(each)}")
        if pair in compared:
            reasons = ", ".join(f"{e.about} {e.found} {e.bits:+}" for e in compared[pair].evidence)
            say(f"    {compared[pair].bits}: {reasons}")


def _told(of: Registration) -> str:
    return ", ".join(f"{value}" for name, value in of.data.items() if name != "entityName")


if __name__ == "__main__":
    sys.exit(main())
