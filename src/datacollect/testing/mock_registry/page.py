"""What the registry shows to people."""

from html import escape

from datacollect.testing.mock_registry.store import Filter, Kind, Resource, Store
from datacollect.testing.remote import Answer

_SHOWN = 100
_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Mock registry</title>
<style>body{font:15px system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd}
code{font-size:.85em}</style><h1>Mock registry</h1>
"""


def overview(store: Store) -> Answer:
    counts = store.counts()
    body = _HEAD + f"<p>{counts['persons']} persons, {counts['groups']} groups. The latest {_SHOWN} of each:</p>"
    body += _table(store, "persons", ["given_name", "family_name", "date_of_birth"], counts["persons"])
    body += _table(store, "groups", ["name", "group_type"], counts["groups"])
    return Answer(200, body.encode(), {"Content-Type": "text/html; charset=utf-8"})


def _table(store: Store, kind: Kind, names: list[str], count: int) -> str:
    latest, _ = store.page(kind, Filter(), limit=_SHOWN, offset=max(0, count - _SHOWN))
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in (*names, "members" if kind == "groups" else "of"))
    rows = "".join(_row(store, one, names) for one in reversed(latest))
    return f"<h2>{kind.capitalize()}</h2><table><tr><th>uuid</th>{head}<th>updated</th></tr>{rows}</table>"


def _row(store: Store, one: Resource, names: list[str]) -> str:
    cells = [str(one.own.get(name) or "") for name in names]
    cells += [str(len(store.members(one.kind, one.uuid))), one.updated_at]
    return (
        f"<tr><td><code>{escape(one.uuid)}</code></td>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
    )
