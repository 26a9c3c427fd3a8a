"""A batch on its way to Odoo: at most one partner for each of our records, whatever breaks off."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from datacollect.adapters.batches import push_each
from datacollect.adapters.calling import CallFailed, CallKind
from datacollect.adapters.errors import Failure
from datacollect.adapters.kinds import Context
from datacollect.adapters.openspp_v1 import members
from datacollect.adapters.openspp_v1.members import Rows
from datacollect.adapters.openspp_v1.odoo import PARTNER, Odoo, OdooFault
from datacollect.adapters.openspp_v1.options import OpenSppV1Options
from datacollect.adapters.openspp_v1.session import ARCHIVED, MEMBERS_FIELD, Registry
from datacollect.adapters.openspp_v1.values import (
    Mappings,
    Unfit,
    compare,
    digest,
    filled,
    to_odoo,
    version_of,
)
from datacollect.adapters.port import Failed, Link, Member, Outcome, Outgoing, Pushed, RecordType, Skipped

PUSH_FAILED = "PUSH_FAILED"
_WITH_ARCHIVED = {"active_test": False}

Row = Mapping[str, Any]


@dataclass(slots=True)
class _Entry:
    """One record of the batch and its twin."""

    record: Outgoing
    values: dict[str, Any] = field(default_factory=dict)
    """The mapped fields, as they are to be."""
    row: Row | None = None
    """The twin as it was found."""
    partner: int | None = None
    seen: Mapping[str, str] = field(default_factory=dict)
    agreed_members: Sequence[int] | None = None
    is_changed: bool = False
    warnings: list[Failure] = field(default_factory=list)
    outcome: Outcome | None = None

    @property
    def is_open(self) -> bool:
        return self.outcome is None

    def fail(self, failure: Failure, *, link: Link | None = None, is_uncertain: bool = False) -> None:
        self.outcome = Failed(failure=failure, link=link, is_uncertain=is_uncertain)


class Push:
    """One batch. `run` gives an outcome for each record; it raises `AdapterError` when the registry is away."""

    def __init__(
        self,
        odoo: Odoo,
        registry: Registry,
        options: OpenSppV1Options,
        mappings: Mappings,
        context: Context,
        records: Sequence[Outgoing],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._odoo = odoo
        self._registry = registry
        self._options = options
        self._mappings = mappings
        self._clock = context.clock
        self._owners = context.owners
        self._sleep = sleep
        self._entries = [_Entry(record) for record in records]

    async def run(self) -> Sequence[Outcome]:
        for entry in self._entries:
            self._prepare(entry)
        try:
            await self._find_twins()
        except CallFailed as failed:
            # Nothing has been written yet.
            raise failed.error(PUSH_FAILED) from None
        await self._archive([entry for entry in self._open if entry.record.is_deleted])
        # Members before their groups.
        for type_ in (RecordType.INDIVIDUAL, RecordType.GROUP):
            await self._send([entry for entry in self._open if entry.record.type is type_])
        return [entry.outcome or Failed(failure=_NOT_TRIED) for entry in self._entries]

    @property
    def _open(self) -> Sequence[_Entry]:
        return [entry for entry in self._entries if entry.is_open]

    # -- before anything is written

    def _prepare(self, entry: _Entry) -> None:
        record = entry.record
        if record.type is RecordType.RECORD:
            entry.outcome = Skipped(reason="TYPE_NOT_SUPPORTED")
        elif record.type is RecordType.GROUP and not self._options.groups:
            entry.outcome = Skipped(reason="GROUPS_NOT_EXCHANGED")
        elif record.is_deleted:
            if self._options.deletes == "keep":
                entry.outcome = Skipped(reason="DELETES_NOT_SENT")
        else:
            self._fill(entry)

    def _fill(self, entry: _Entry) -> None:
        record = entry.record
        try:
            entry.values = to_odoo(self._mappings.of(record.type), record.data, self._registry.types)
        except Unfit as unfit:
            entry.fail(Failure(code=PUSH_FAILED, message=str(unfit), retryable=False, guid=record.guid))

    async def _find_twins(self) -> None:
        """Those that are linked by their number, then by our guid those that have no link, or whose twin is gone."""
        numbers = {number: entry for entry in self._open if (number := partner_number(entry.record.link)) is not None}
        for row in await self._partners([["id", "in", sorted(numbers)]], numbers):
            self._meet(numbers[row["id"]], row)
        lost = {entry.record.guid: entry for entry in self._open if entry.row is None}
        await self._find_by_guid(lost)
        missing = {guid: entry for guid, entry in lost.items() if entry.is_open and entry.row is None}
        has_waited = await self._has_waited_for(missing.values())
        if has_waited:
            await self._find_by_guid(missing)
        if await self._has_waited_for(await self._uncertain_to_add_members()) or has_waited:
            await self._meet_again()

    async def _uncertain_to_add_members(self) -> Sequence[_Entry]:
        """A write of theirs that was told and not answered may add members yet: made again, it would add them once more."""
        groups = [entry for entry in self._open if entry.record.is_uncertain and entry.row is not None]
        there = await self._members_there(groups)
        return [entry for entry in groups if self._adds_members(entry, there.get(entry.partner or 0, {}))]

    async def _meet_again(self) -> None:
        """After minutes: what was changed there meanwhile is not to be written over."""
        met = {entry.partner: entry for entry in self._open if entry.partner is not None}
        for row in await self._partners([["id", "in", sorted(met)]], met):
            self._meet(met[row["id"]], row)

    async def _has_waited_for(self, entries: Collection[_Entry]) -> bool:
        """A write that was told and not answered may be at work as long as Odoo lets it, whoever told it: until then a
        registrant or a member that is not there is none that has to be made. Whether there was one."""
        records = (entry.record for entry in entries)
        told = [one.told_at for one in records if one.is_uncertain and one.told_at is not None]
        longest = self._options.write_seconds
        seconds = longest - (self._clock.now() - max(told, default=0)) / 1000
        if not told or seconds <= 0:
            return False
        await self._sleep(min(seconds, longest))
        return True

    async def _find_by_guid(self, lost: Mapping[str, _Entry]) -> None:
        reference = self._options.reference_field
        found: dict[str, list[Row]] = {}
        for row in await self._partners([[reference, "in", sorted(lost)]], lost):
            if row.get(reference) in lost:
                found.setdefault(row[reference], []).append(row)
        owners = await self._owners([str(row["id"]) for rows in found.values() for row in rows])
        for guid, rows in found.items():
            free = [row for row in rows if owners.get(str(row["id"]), guid) == guid]
            if len(rows) > 1:
                lost[guid].warnings.append(_ambiguous(guid))
            if free:
                self._meet(lost[guid], free[0])
            elif not lost[guid].record.is_deleted:
                lost[guid].fail(_taken(guid))

    async def _partners(self, domain: Sequence[Any], wanted: Collection[Any]) -> Sequence[Row]:
        """In the order in which they were made. Those that were archived are twins too."""
        if not wanted:
            return []
        return await self._odoo.search_read(
            PARTNER, domain, self._read_fields, what="look for registrants", order="id", context=_WITH_ARCHIVED
        )

    @property
    def _read_fields(self) -> Sequence[str]:
        fixed = ("is_registrant", "is_group", "active", "write_date", self._options.reference_field)
        return [*fixed, *self._registry.fields]

    def _meet(self, entry: _Entry, row: Row) -> None:
        is_group = entry.record.type is RecordType.GROUP
        if row.get("is_registrant") is not True or row.get("is_group") is not is_group:
            # Whatever the link says: nothing is written into partners that are no registrants of this kind.
            entry.fail(_no_registrant(entry.record.guid))
            return
        entry.row, entry.partner = row, row["id"]

    # -- what was deleted here

    async def _archive(self, entries: Sequence[_Entry]) -> None:
        there = [entry for entry in entries if entry.row is not None and entry.row.get("active") is True]
        for entry in entries:
            if entry not in there:
                entry.outcome = Pushed(link=_archived(entry))
        await self._each(there, self._archive_one)

    async def _archive_one(self, entry: _Entry) -> Outcome:
        try:
            await self._write(entry, {"active": False}, what="archive a registrant")
        except CallFailed as failed:
            if failed.kind is not CallKind.NOT_FOUND:
                raise
        return Pushed(link=_archived(entry))

    # -- what is to be there

    async def _send(self, entries: Sequence[_Entry]) -> None:
        there = await self._members_there(entries)
        await self._create([entry for entry in entries if entry.partner is None])
        await self._each(
            [entry for entry in entries if entry.is_open and entry.row is not None],
            lambda entry: self._update_one(entry, there.get(entry.partner or 0, {})),
        )
        await self._finish([entry for entry in entries if entry.is_open])

    async def _members_there(self, entries: Sequence[_Entry]) -> Mapping[int, Rows]:
        model = self._registry.members
        groups = {entry.partner for entry in entries if entry.partner and entry.record.members is not None}
        if model is None or not groups:
            return {}
        try:
            return await members.members_of(self._odoo, model, groups)
        except CallFailed as failed:
            raise failed.error(PUSH_FAILED) from None

    async def _create(self, entries: Sequence[_Entry]) -> None:
        """All in one call; if it is refused in halves, until those that are to blame stand alone."""
        if not entries:
            return
        try:
            made = await self._create_call(entries)
        except OdooFault as fault:
            if fault.is_systemic:
                raise fault.error(PUSH_FAILED) from None
            if len(entries) == 1:
                entries[0].fail(fault.failure(PUSH_FAILED, entries[0].record.guid))
            else:
                middle = len(entries) // 2
                await self._create(entries[:middle])
                await self._create(entries[middle:])
        except CallFailed as failed:
            await self._after_broken_create(entries, failed)
        else:
            for entry, number in zip(entries, made, strict=True):
                entry.partner, entry.is_changed = number, True
                entry.seen = self._digests(entry.values)

    async def _create_call(self, entries: Sequence[_Entry]) -> Sequence[int]:
        """One by itself is not a list: models that were written for older Odoos take no other."""
        what = "create registrants"
        values = [self._new(entry) for entry in entries]
        args = [values[0] if len(values) == 1 else values]
        made = await self._odoo.call(PARTNER, "create", args, what=what, repeatable=False, sent=self._registry.fields)
        if isinstance(made, int) and len(values) == 1:
            made = [made]
        if not isinstance(made, list) or len(made) != len(entries) or not all(isinstance(one, int) for one in made):
            raise CallFailed(CallKind.UNREADABLE, what)
        return made

    def _new(self, entry: _Entry) -> Mapping[str, Any]:
        record = entry.record
        given = filled(entry.values, self._registry.types)
        # Only a new partner is given a name that no form has.
        named = {} if "name" in given else default_name(record.type, record.data, given)
        fixed = {
            "is_registrant": True,
            "is_group": record.type is RecordType.GROUP,
            self._options.reference_field: record.guid,
        }
        return {**named, **given, **fixed, **self._members(entry, {})}

    async def _after_broken_create(self, entries: Sequence[_Entry], failed: CallFailed) -> None:
        """It may have been done: those that are found are there. The others are not made again now, for a call that
        broke off may still be at work; the next run looks for them first."""
        if not failed.may_have_arrived:
            raise failed.error(PUSH_FAILED) from None
        try:
            await self._find_by_guid({entry.record.guid: entry for entry in entries})
        except CallFailed:
            raise failed.error(PUSH_FAILED) from None
        for entry in entries:
            if entry.partner is None:
                failure = failed.failure(PUSH_FAILED, entry.record.guid)
                entry.fail(failure, is_uncertain=True)
            else:
                entry.is_changed, entry.row = True, None
                entry.seen = self._digests(entry.values)

    async def _update_one(self, entry: _Entry, there: Rows) -> Outcome | None:
        """None while all is well: `_finish` gives the outcome."""
        assert entry.row is not None
        state = entry.record.link.state if entry.record.link else {}
        known = state.get("seen")
        difference = compare(entry.values, entry.row, known if isinstance(known, dict) else {}, self._registry.types)
        entry.seen = difference.seen
        if difference.conflicts:
            return Failed(failure=_conflict(entry.record.guid, difference.conflicts), link=entry.record.link)
        changes = {**difference.changes, **self._members(entry, there)}
        if self._options.deletes == "archive" and entry.row.get("active") is False:
            if entry.record.link is not None and ARCHIVED not in state and not self._is_as_known(entry):
                # It was archived there since.
                return Failed(failure=_conflict(entry.record.guid, ["active"]), link=entry.record.link)
            changes["active"] = True
        if not changes:
            return None
        reference = self._options.reference_field
        if not entry.row.get(reference):
            changes[reference] = entry.record.guid
        try:
            await self._write(entry, changes, what="update a registrant")
        except CallFailed as failed:
            if failed.kind is not CallKind.NOT_FOUND:
                raise
            # Deleted there since it was found, or a member was: the next run makes it again.
            failure = replace(failed.failure(PUSH_FAILED, entry.record.guid), retryable=True)
            return Failed(failure=failure, link=entry.record.link)
        entry.is_changed = True
        return None

    async def _write(self, entry: _Entry, changes: Mapping[str, Any], *, what: str) -> None:
        args = [[entry.partner], changes]
        # Members are added by commands: done twice, they would be in the group twice.
        repeatable = MEMBERS_FIELD not in changes
        await self._odoo.call(PARTNER, "write", args, what=what, repeatable=repeatable, sent=list(changes))

    async def _each(self, entries: Sequence[_Entry], push: Callable[[_Entry], Awaitable[Outcome | None]]) -> None:
        by_guid = {entry.record.guid: entry for entry in entries}

        async def one(record: Outgoing) -> Outcome:
            entry = by_guid[record.guid]
            return await push(entry) or _GOING_ON

        outcomes = await push_each([entry.record for entry in entries], one, code=PUSH_FAILED)
        for entry, outcome in zip(entries, outcomes, strict=True):
            if outcome is not _GOING_ON:
                entry.outcome = outcome

    # -- members

    def _members(self, entry: _Entry, there: Rows) -> Mapping[str, Any]:
        """The commands for a group's members, if there are any."""
        model, told = self._registry.members, entry.record.members
        if model is None or told is None:
            return {}
        wanted = sorted({number for member in told if (number := self._number_of(member)) is not None})
        state = entry.record.link.state if entry.record.link else {}
        agreed = state.get("members")
        strange = entry.record.strange_members
        commands = members.commands(
            model,
            wanted=wanted,
            there=there,
            agreed=[one for one in agreed if str(one) not in strange] if isinstance(agreed, list) else (),
            now=self._clock.now(),
        )
        entry.agreed_members = wanted
        return {MEMBERS_FIELD: list(commands)} if commands else {}

    def _adds_members(self, entry: _Entry, there: Rows) -> bool:
        return any(command[0] == 0 for command in self._members(entry, there).get(MEMBERS_FIELD, ()))

    def _number_of(self, member: Member) -> int | None:
        """The registry knows individuals as members, and no groups."""
        if member.type is not RecordType.INDIVIDUAL:
            return None
        return partner_number(member.link) or self._made_here.get(member.guid)

    @property
    def _made_here(self) -> Mapping[str, int]:
        return {
            entry.record.guid: entry.partner
            for entry in self._entries
            if entry.partner is not None and entry.record.type is RecordType.INDIVIDUAL
        }

    def _missing_members(self, record: Outgoing) -> bool:
        if self._registry.members is None:
            return False
        individuals = (one for one in record.members or () if one.type is RecordType.INDIVIDUAL)
        return any(self._number_of(one) is None for one in individuals)

    # -- afterwards

    async def _finish(self, entries: Sequence[_Entry]) -> None:
        """Read what was written, for its version, and give the outcomes."""
        now_there = await self._as_written([entry for entry in entries if entry.is_changed])
        for entry in entries:
            link = self._link(entry, now_there.get(entry.partner or 0) if entry.is_changed else entry.row)
            if self._missing_members(entry.record):
                entry.fail(_member_not_linked(entry.record.guid), link=link)
            else:
                entry.outcome = Pushed(link=link, warnings=tuple(entry.warnings))

    async def _as_written(self, entries: Sequence[_Entry]) -> Mapping[int, Row]:
        numbers = [entry.partner for entry in entries if entry.partner is not None]
        try:
            rows = await self._partners([["id", "in", numbers]], numbers)
        except CallFailed:
            return {}  # without a version: the next pull tells of them again, and finds nothing new
        return {row["id"]: row for row in rows}

    def _link(self, entry: _Entry, row: Row | None) -> Link:
        state: dict[str, Any] = {"seen": dict(entry.seen)}
        if entry.agreed_members is not None:
            state["members"] = list(entry.agreed_members)
        version = None
        if row is not None and self._is_as_expected(entry, row):
            version = version_of(row, self._registry.types)
        return Link(external_id=str(entry.partner), version=version, state=state)

    def _is_as_known(self, entry: _Entry) -> bool:
        """Whether nobody has touched it since the link was kept: links of older hubs do not tell who is archived."""
        version = entry.record.link.version if entry.record.link else None
        return version is not None and entry.row is not None and version == version_of(entry.row, self._registry.types)

    def _is_as_expected(self, entry: _Entry, row: Row) -> bool:
        """Whether it holds what we wrote, and else what has been seen: if not, the next pull has something to tell."""
        types = self._registry.types
        expected = {**entry.seen, **self._digests(entry.values)}
        if any(digest(types[name], row.get(name)) != held for name, held in expected.items() if name in types):
            return False
        # What a new registrant has beside that are Odoo's defaults.
        return entry.row is None or not any(row.get(name) for name in types if name not in expected)

    def _digests(self, values: Mapping[str, Any]) -> dict[str, str]:
        return {name: digest(self._registry.types[name], value) for name, value in values.items()}


def _archived(entry: _Entry) -> Link | None:
    if entry.row is None:
        return entry.record.link
    link = entry.record.link or Link(external_id=str(entry.partner))
    return replace(link, state={**link.state, ARCHIVED: True})


def partner_number(link: Link | None) -> int | None:
    """The partner that a link names. Nothing else says which one is written to: no data of an entity does."""
    if link is None or not link.external_id.isascii() or not link.external_id.isdecimal():
        return None
    return int(link.external_id) if 0 < len(link.external_id) < 11 else None


def default_name(type_: RecordType, data: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """`FAMILY, GIVEN` in capitals, as the registry's own people write it; else what the entity calls itself."""
    parts = [given[name] for name in ("family_name", "given_name") if isinstance(given.get(name), str)]
    if type_ is RecordType.INDIVIDUAL and parts:
        return {"name": ", ".join(parts).upper()}
    keys = ("name", "fullName", "full_name") if type_ is RecordType.INDIVIDUAL else ("groupName", "group_name", "name")
    found = (data.get(key) for key in keys)
    name = next((value for value in found if isinstance(value, str) and value.strip()), None)
    return {} if name is None else {"name": name}


_GOING_ON = Skipped(reason="GOING_ON")
_NOT_TRIED = Failure(code=PUSH_FAILED, message="Not sent: the registry is away.", retryable=True)


def _ambiguous(guid: str) -> Failure:
    message = "The registry has several registrants with the hub's id of this record; the oldest one is used."
    return Failure(code="TWIN_AMBIGUOUS", message=message, retryable=False, guid=guid)


def _taken(guid: str) -> Failure:
    message = (
        "The registrant with the hub's id of this record is the twin of another one, so nothing was written into it."
    )
    return Failure(code="TWIN_TAKEN", message=message, retryable=False, guid=guid)


def _no_registrant(guid: str) -> Failure:
    message = "The partner that the record is linked to is no registrant of its kind, so nothing was written into it."
    return Failure(code=PUSH_FAILED, message=message, retryable=False, guid=guid)


def _conflict(guid: str, fields: Sequence[str]) -> Failure:
    message = f"Changed here and there since they last agreed: {', '.join(fields)}. The next pull settles it."
    return Failure(code="CONFLICT", message=message, retryable=True, guid=guid)


def _member_not_linked(guid: str) -> Failure:
    message = "A member of the group is not in the registry yet."
    return Failure(code="MEMBER_NOT_LINKED", message=message, retryable=True, guid=guid)
