"""Odoo's external API: JSON-RPC over one address.

There are no sessions: every call brings database, number of the user and password. An answer with status 200 may be an
error, told by the name of the Python class that was raised; its texts may quote records, statements and tracebacks, so
nothing of them is handed on.
"""

import random
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from datacollect.adapters.calling import CallFailed, CallKind, JsonApi, Retrying
from datacollect.adapters.times import http_date
from datacollect.kernel.clock import Millis
from datacollect.outgoing import GuardedClient

READ_SECONDS = 30.0
WRITE_SECONDS = 130.0
"""Longer than Odoo lets a request run (`limit_time_real`, 120 s): when this is over, whatever was asked for is either
done or will not be."""

_MORE_SECONDS = 20.0
"""For another try, beside what a write may take."""

PARTNER = "res.partner"
_FAULTS: Mapping[str, CallKind] = {
    "odoo.exceptions.AccessDenied": CallKind.AUTH,
    "odoo.exceptions.AccessError": CallKind.FORBIDDEN,
    "odoo.exceptions.MissingError": CallKind.NOT_FOUND,
    "odoo.exceptions.ValidationError": CallKind.REJECTED,
    "odoo.exceptions.UserError": CallKind.REJECTED,
    "odoo.exceptions.RedirectWarning": CallKind.REJECTED,
    "odoo.exceptions.CacheMiss": CallKind.UNAVAILABLE,
    "odoo.exceptions.ConcurrencyError": CallKind.UNAVAILABLE,
    "builtins.ValueError": CallKind.REJECTED,
    "builtins.TypeError": CallKind.REJECTED,
    "builtins.KeyError": CallKind.REJECTED,
    "builtins.AttributeError": CallKind.REJECTED,
}
_DATABASE_FAULTS = re.compile(r"psycopg2\.(?:[A-Za-z]+\.)?([A-Za-z]+)")
_OF_THE_DATA = frozenset(
    {"IntegrityError", "UniqueViolation", "NotNullViolation", "CheckViolation", "ForeignKeyViolation", "DataError"}
    | {"InvalidTextRepresentation", "NumericValueOutOfRange", "StringDataRightTruncation"}
)
_AWAY = ("psycopg2.OperationalError", "psycopg2.InterfaceError", "psycopg2.pool.PoolError")
_NAMED_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,60}")


class OdooFault(CallFailed):
    """Odoo answered that it has not done what was asked: the call's transaction was rolled back."""

    @property
    def may_have_arrived(self) -> bool:
        return False

    @property
    def is_systemic(self) -> bool:
        return self.kind is CallKind.AUTH or self.database_is_away

    database_is_away = False


class Odoo:
    """One database, as one user. Signs in when it first has to."""

    def __init__(
        self,
        client: GuardedClient,
        base_url: str,
        *,
        database: str,
        username: str,
        password: SecretStr,
        tries: int = 3,
        read_seconds: float = READ_SECONDS,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        retrying = Retrying(tries=tries, total_seconds=max(read_seconds, write_seconds) + _MORE_SECONDS)
        self._api = JsonApi(client, base_url, timeout_seconds=read_seconds, retrying=retrying)
        self._write_seconds = write_seconds
        self._database = database
        self._username = username
        self._password = password
        self._uid: int | None = None
        self.dated: Millis | None = None
        """What its clock showed at its last answer, if that says so."""

    async def sign_in(self) -> int:
        """The user's number, asked for once. Raises `CallFailed` of kind `AUTH` if the credentials are not right."""
        if self._uid is None:
            what = "sign in to Odoo"
            args = [self._database, self._username, self._password.get_secret_value(), {}]
            uid = await self._post("common", "authenticate", args, what=what, sent=(), repeatable=True)
            if not isinstance(uid, int) or isinstance(uid, bool) or uid <= 0:
                raise CallFailed(CallKind.AUTH if uid in (False, None, 0) else CallKind.UNREADABLE, what)
            self._uid = uid
        return self._uid

    async def call(
        self,
        model: str,
        method: str,
        args: Sequence[Any],
        keywords: Mapping[str, Any] | None = None,
        *,
        what: str,
        repeatable: bool = True,
        sent: Collection[str] = (),
    ) -> Any:
        """What the method of the model gives.

        `what` names the call for people. Only what is `repeatable` is tried again without knowing whether it was done.
        Names of fields among `sent` are named in a refusal that is about them. Raises `CallFailed`.
        """
        signed_in_before = self._uid is not None
        try:
            return await self._execute(model, method, args, keywords, what, repeatable, sent)
        except CallFailed as failed:
            if failed.kind is not CallKind.AUTH or not signed_in_before:
                raise
        # The user may have another number since: databases are restored.
        self._uid = None
        return await self._execute(model, method, args, keywords, what, repeatable, sent)

    async def search_read(
        self, model: str, domain: Sequence[Any], fields: Sequence[str], *, what: str, **keywords: Any
    ) -> Sequence[Mapping[str, Any]]:
        """Records with these fields and their `id`. Raises `CallFailed`, also if the answer is no list of records."""
        given = {"fields": list(fields), **keywords}
        found = await self.call(model, "search_read", [list(domain)], given, what=what, sent=fields)
        if not isinstance(found, list) or not all(isinstance(row, dict) and _is_id(row.get("id")) for row in found):
            raise CallFailed(CallKind.UNREADABLE, what)
        return found

    async def fields_get(
        self, model: str, names: Sequence[str] | None = None, attributes: Sequence[str] = (), *, what: str
    ) -> Mapping[str, Any]:
        """What Odoo tells of a model's fields; of names it does not know it tells nothing."""
        args = [] if names is None else [list(names)]
        described = await self.call(model, "fields_get", args, {"attributes": list(attributes)}, what=what)
        if not isinstance(described, dict):
            raise CallFailed(CallKind.UNREADABLE, what)
        return described

    async def _execute(
        self,
        model: str,
        method: str,
        args: Sequence[Any],
        keywords: Mapping[str, Any] | None,
        what: str,
        repeatable: bool,
        sent: Collection[str],
    ) -> Any:
        uid = await self.sign_in()
        secret = self._password.get_secret_value()
        full: list[Any] = [self._database, uid, secret, model, method, list(args)]
        if keywords:
            full.append(dict(keywords))
        return await self._post("object", "execute_kw", full, what=what, sent=sent, repeatable=repeatable)

    async def _post(
        self, service: str, method: str, args: Sequence[Any], *, what: str, sent: Collection[str], repeatable: bool
    ) -> Any:
        number = random.randrange(1, 1_000_000_000)  # noqa: S311 - it tells answers apart, and guards nothing
        document = {
            "jsonrpc": "2.0",
            "id": number,
            "method": "call",
            "params": {"service": service, "method": method, "args": list(args)},
        }
        timeout = None if repeatable else self._write_seconds
        reply = await self._api.call(
            "POST", "/jsonrpc", what=what, json=document, repeatable=repeatable, timeout_seconds=timeout
        )
        self.dated = http_date(reply.headers.get("date"))
        return _result(reply.document, number, what, sent)


def _result(document: Any, number: int, what: str, sent: Collection[str]) -> Any:
    """Raises `CallFailed`, also for the answer to another request: it says nothing about this one."""
    match document:
        case {"id": int() as answered} if answered != number:
            pass
        case {"error": dict() as error}:
            raise _fault(error, what, sent)
        case {"result": result}:
            return result
    raise CallFailed(CallKind.UNREADABLE, what)


def _fault(error: Mapping[str, Any], what: str, sent: Collection[str]) -> OdooFault:
    data = error.get("data")
    name = data.get("name") if isinstance(data, dict) else None
    kind = _kind_of(name if isinstance(name, str) else "")
    text = data.get("message") if isinstance(data, dict) else None
    named = _fields_in(text, sent) if kind is CallKind.REJECTED and isinstance(text, str) else ()
    fault = OdooFault(kind, what, fields=named)
    fault.database_is_away = name in _AWAY
    return fault


def _kind_of(name: str) -> CallKind:
    if name in _FAULTS:
        return _FAULTS[name]
    if database := _DATABASE_FAULTS.fullmatch(name):
        # Locks, serialization, restarts: it would work another time.
        return CallKind.REJECTED if database[1] in _OF_THE_DATA else CallKind.UNAVAILABLE
    return CallKind.UNAVAILABLE


def _fields_in(text: str, sent: Collection[str]) -> Sequence[str]:
    """Fields of those we sent that the text is about; nothing else of it is believed, for it may quote records."""
    words = set(_NAMED_FIELD.findall(text[:2000]))
    words |= {word.rpartition(".")[2] for word in words}
    return [name for name in sent if name in words]


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
