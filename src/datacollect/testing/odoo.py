"""A fake Odoo with OpenSPP's registry (V1), strict about what it takes, on a real socket.

    with FakeOdoo() as odoo:
        odoo.add_user("registrar", "secret")
        ... call odoo.url with database odoo.database ...

It knows users with groups, `res.partner` and what belongs to it, and of Odoo's external API what a sync needs. Everything
else is refused as Odoo refuses it: unknown fields, values that do not fit, domains it does not understand, methods and
keywords that there are not. As there, a call is a transaction, times are stored to the microsecond and shown to the second
without a zone, and empty values are shown as `false`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from datacollect.testing.odoo_model import (
    OdooError,
    OdooField,
    OdooModel,
    Registry,
    Row,
    Transaction,
    access_denied,
    access_error,
)
from datacollect.testing.remote import Answer, RemoteSystem, Request

PARTNER, MEMBERSHIP, MEMBERSHIP_KIND = "res.partner", "g2p.group.membership", "g2p.group.membership.kind"
REGISTRAR = "group_g2p_registrar"
DATABASE = "openspp"


@dataclass(frozen=True, slots=True)
class _User:
    id: int
    login: str
    password: str
    groups: tuple[int, ...]


class FakeOdoo(RemoteSystem):
    """One server with one database. Several of them can run side by side."""

    def __init__(
        self,
        *,
        database: str = DATABASE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(self._answer, host=host, port=port)
        self.database = database
        self.now = now
        """The time of each call. Odoo's `write_date` is that of the transaction."""
        self.registry = Registry(_models(), self._begin)
        self._began = datetime.now(UTC)
        self.calls: Counter[str] = Counter()
        """How often each method was called: `calls["res.partner.create"]`, `calls["authenticate"]`."""
        self._users: dict[str, _User] = {}
        self._groups: dict[str, int] = {}
        for name in ("Head", "Spouse", "Child", "Other"):
            self._transaction().create(MEMBERSHIP_KIND, {"name": name})
        for name in ("Male", "Female"):
            self._transaction().create("gender.type", {"name": name})
        self.add_group(REGISTRAR)

    # -- for tests

    def add_group(self, name: str) -> int:
        """A group and its technical name, as `ir.model.data` has it."""
        number = 10 + len(self._groups)
        self._groups[name] = number
        self._transaction().create("ir.model.data", {"model": "res.groups", "name": name, "res_id": number})
        return number

    def add_user(self, login: str, password: str, *groups: str) -> int:
        """A user, of the registrars unless other groups are named. An existing one gets the new password."""
        known = self._users.get(login)
        number = known.id if known else 2 + len(self._users)
        member_of = tuple(self._groups[name] for name in groups or (REGISTRAR,))
        self._users[login] = _User(number, login, password, member_of)
        return number

    def add_partner(self, **values: Any) -> int:
        """A registrant, made in the registry itself."""
        given = {"is_registrant": True, "is_group": False, **values}
        return self._transaction().create(PARTNER, given)

    def write_partner(self, key: int, **values: Any) -> None:
        self._transaction().write(PARTNER, [key], values)

    def partners(self) -> Sequence[Row]:
        """All of them as stored, archived ones too."""
        return list(self.registry.model(PARTNER).rows.values())

    def partner(self, key: int) -> Row:
        return self.registry.model(PARTNER).rows[key]

    def members_of(self, group: int) -> Sequence[int]:
        """Individuals that are members of the group now."""
        rows = self.registry.model(MEMBERSHIP).rows.values()
        return [row["individual"] for row in rows if row["group"] == group and not row["ended_date"]]

    def _transaction(self) -> Transaction:
        return self.registry.transaction()

    def _begin(self) -> datetime:
        self._began = self.now()
        return self._began

    # -- JSON-RPC

    def _answer(self, request: Request) -> Answer:
        if (request.method, request.path) != ("POST", "/jsonrpc"):
            return Answer(404, b"<html>not here</html>")
        if not request.headers.get("content-type", "").startswith("application/json"):
            return Answer(400, b"<html>not JSON</html>")
        document = request.json()
        match document:
            case {"jsonrpc": "2.0", "method": "call", "params": {"service": str(), "method": str(), "args": list()}}:
                pass
            case _:
                return _error(None, OdooError("werkzeug.exceptions.BadRequest", "Invalid JSON-RPC data"))
        try:
            result = self._called(**document["params"])
        except OdooError as error:
            return _error(document.get("id"), error)
        date = {"Date": format_datetime(self._began, usegmt=True)}
        return Answer(200, {"jsonrpc": "2.0", "id": document.get("id"), "result": result}, date)

    def _called(self, service: str, method: str, args: list[Any]) -> Any:
        match service, method, args:
            case "common", "authenticate", [str() as database, str() as login, str() as password, dict()]:
                self.calls["authenticate"] += 1
                self._require_database(database)
                user = self._users.get(login)
                return user.id if user and user.password == password else False
            case "common", "version", []:
                return {"server_version": "15.0", "protocol_version": 1}
            case "object", "execute_kw", [str() as database, int() as uid, str() as password, str(), str(), list(), *_]:
                self._require_database(database)
                user = next((one for one in self._users.values() if one.id == uid), None)
                if user is None or user.password != password:
                    raise access_denied()
                return self._executed(user, *args[3:])
        raise OdooError("builtins.NameError", f"Method not available: {service}.{method}")

    def _require_database(self, database: str) -> None:
        if database != self.database:
            raise OdooError("psycopg2.OperationalError", f'FATAL:  database "{database}" does not exist')

    def _executed(self, user: _User, model: str, method: str, args: list[Any], keywords: Any = None, *_: Any) -> Any:
        self.calls[f"{model}.{method}"] += 1
        if model == "res.users":
            return self._read_users(method, args, keywords or {})
        known = self.registry.model(model)
        called = _METHODS.get(method)
        if called is None:
            raise OdooError("builtins.AttributeError", f"The method '{method}' does not exist on the model '{model}'")
        self._require_access(user, known, _ACCESS[method])
        transaction = self._transaction()
        try:
            return called(transaction, model, *args, **(keywords or {}))
        except OdooError:
            transaction.roll_back()
            raise
        except TypeError as wrong:
            transaction.roll_back()
            raise OdooError("builtins.TypeError", str(wrong)) from None

    def _read_users(self, method: str, args: list[Any], keywords: Mapping[str, Any]) -> Any:
        fields = keywords.get("fields", args[1] if len(args) > 1 else None)
        if method != "read" or fields != ["groups_id"]:
            raise access_error("You are not allowed to access 'Users' (res.users) records.")
        by_id = {user.id: user for user in self._users.values()}
        return [{"id": key, "groups_id": list(by_id[key].groups)} for key in args[0]]

    def _require_access(self, user: _User, model: OdooModel, operation: str) -> None:
        group = model.readers if operation == "read" else model.writers
        if group is not None and self._groups[group] not in user.groups:
            raise access_error(f"You are not allowed to {operation} '{model.name}' records.")


def _error(number: Any, error: OdooError) -> Answer:
    """With all that Odoo tells: the texts quote records, and must not get any further."""
    data = {
        "name": error.name,
        "debug": f"Traceback (most recent call last):\n  …\n{error.name}: {error}",
        "message": str(error),
        "arguments": [str(error)],
        "context": {},
    }
    return Answer(
        200, {"jsonrpc": "2.0", "id": number, "error": {"code": 200, "message": "Odoo Server Error", "data": data}}
    )


# -- methods of models


def _create(tx: Transaction, model: str, values: Any) -> Any:
    if isinstance(values, list):
        return [tx.create(model, _values(one)) for one in values]
    return tx.create(model, _values(values))


def _write(tx: Transaction, model: str, ids: Any, values: Any) -> bool:
    tx.write(model, _ids(ids), _values(values))
    return True


def _unlink(tx: Transaction, model: str, ids: Any) -> bool:
    tx.unlink(model, _ids(ids))
    return True


def _read(tx: Transaction, model: str, ids: Any, fields: Any = None) -> Sequence[Row]:
    found = tx.existing(tx.model(model), _ids(ids))
    return [tx.shown(model, row, fields or []) for row in found]


def _search_read(
    tx: Transaction,
    model: str,
    domain: Any = None,
    fields: Any = None,
    offset: int = 0,
    limit: int | None = None,
    order: str | None = None,
    context: Any = None,
) -> Sequence[Row]:
    active_test = (context or {}).get("active_test", True)
    rows = tx.search(model, domain or [], order=order, limit=limit, offset=offset, active_test=active_test)
    return [tx.shown(model, row, fields or []) for row in rows]


def _fields_get(tx: Transaction, model: str, allfields: Any = None, attributes: Any = None) -> Mapping[str, Any]:
    fields = tx.model(model).fields
    names = [name for name in allfields if name in fields] if allfields else list(fields)
    return {name: _described(fields[name], attributes) for name in names}


def _described(field: OdooField, attributes: Any) -> Mapping[str, Any]:
    told: dict[str, Any] = {"type": field.type, "string": field.string, "required": field.required}
    if field.selection:
        told["selection"] = [list(pair) for pair in field.selection]
    if field.relation:
        told["relation"] = field.relation
    return {name: value for name, value in told.items() if not attributes or name in attributes}


_METHODS: Mapping[str, Callable[..., Any]] = {
    "create": _create,
    "write": _write,
    "unlink": _unlink,
    "read": _read,
    "search_read": _search_read,
    "fields_get": _fields_get,
}
_ACCESS = {"create": "create", "write": "write", "unlink": "delete"} | dict.fromkeys(
    ("read", "search_read", "fields_get"), "read"
)


def _values(values: Any) -> Mapping[str, Any]:
    if not isinstance(values, dict):
        raise OdooError("builtins.TypeError", f"values are no dictionary: {type(values).__name__}")
    return values


def _ids(ids: Any) -> Sequence[int]:
    if not isinstance(ids, list) or not all(isinstance(one, int) and not isinstance(one, bool) for one in ids):
        raise OdooError("builtins.TypeError", "ids are no list of numbers")
    return ids


# -- the registry's models


def _models() -> Sequence[OdooModel]:
    return [
        OdooModel(PARTNER, _partner_fields(), writers=REGISTRAR),
        OdooModel(MEMBERSHIP, _membership_fields(), writers=REGISTRAR),
        OdooModel(MEMBERSHIP_KIND, _logged({"name": OdooField("char", "Name", required=True)})),
        OdooModel("gender.type", _logged({"name": OdooField("char", "Name", required=True)})),
        OdooModel(
            "ir.model.data",
            _logged(
                {
                    "model": OdooField("char", "Model"),
                    "name": OdooField("char", "Name"),
                    "res_id": OdooField("integer", "Record"),
                }
            ),
        ),
    ]


def _logged(fields: Mapping[str, OdooField]) -> dict[str, OdooField]:
    """With those that Odoo adds to every model."""
    return {
        **fields,
        "display_name": OdooField("char", "Display Name", readonly=True),
        "active": OdooField("boolean", "Active"),
        "create_date": OdooField("datetime", "Created on", readonly=True),
        "write_date": OdooField("datetime", "Last Updated on", readonly=True),
    }


def _partner_fields() -> dict[str, OdooField]:
    genders = (("male", "Male"), ("female", "Female"))
    return _logged(
        {
            "name": OdooField("char", "Name", required=True),
            "given_name": OdooField("char", "Given Name"),
            "family_name": OdooField("char", "Family Name"),
            "addl_name": OdooField("char", "Additional Name"),
            "ref": OdooField("char", "Reference"),
            "is_registrant": OdooField("boolean", "Registrant"),
            "is_group": OdooField("boolean", "Group"),
            "birthdate": OdooField("date", "Date of Birth"),
            "gender": OdooField("selection", "Gender", selection=genders),
            "gender_id": OdooField("many2one", "Gender", relation="gender.type"),
            "email": OdooField("char", "Email"),
            "phone": OdooField("char", "Phone"),
            "hh_size": OdooField("integer", "Household Size"),
            "income": OdooField("float", "Income"),
            "is_disabled": OdooField("boolean", "Disabled"),
            "registration_date": OdooField("datetime", "Registration Date"),
            "category_id": OdooField("many2many", "Tags", relation="gender.type"),
            "group_membership_ids": OdooField("one2many", "Members", relation=MEMBERSHIP, inverse="group"),
        }
    )


def _membership_fields() -> dict[str, OdooField]:
    return _logged(
        {
            "group": OdooField("many2one", "Group", required=True, relation=PARTNER),
            "individual": OdooField("many2one", "Individual", required=True, relation=PARTNER),
            "kind": OdooField("many2many", "Kind", relation=MEMBERSHIP_KIND),
            "ended_date": OdooField("datetime", "Ended Date"),
        }
    )
