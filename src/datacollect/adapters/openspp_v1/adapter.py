"""OpenSPP V1 as an adapter."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from datacollect.adapters.calling import CallFailed
from datacollect.adapters.health import measured
from datacollect.adapters.kinds import Context
from datacollect.adapters.openspp_v1.odoo import PARTNER, Odoo
from datacollect.adapters.openspp_v1.options import OpenSppV1Options
from datacollect.adapters.openspp_v1.pulling import PAGE_SIZE, PULL_FAILED, Pull
from datacollect.adapters.openspp_v1.pushing import PUSH_FAILED, Push
from datacollect.adapters.openspp_v1.session import Registry, look_around, require_registrar
from datacollect.adapters.openspp_v1.values import Mappings
from datacollect.adapters.port import Health, Outcome, Outgoing, Page, RecordType

NAME = "openspp-v1-adapter"


class OpenSppV1Adapter:
    """Signs in, sees to its rights and reads the registry's fields when it first has to."""

    page_size = PAGE_SIZE

    def __init__(
        self,
        options: OpenSppV1Options,
        context: Context,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options = options
        self._context = context
        self._mappings = Mappings(context.mappings)
        self._sleep = sleep
        self._odoo = self._connect(tries=1 + options.max_retries)
        self._registry: Registry | None = None
        self._has_pushed = False
        self._rows_at_once = self.page_size

    async def check(self) -> Health:
        """Signs in anew, with all that a run asks for before it exchanges anything, and reads a record."""
        odoo = self._connect(tries=1)

        async def probe() -> str:
            await self._look_around(odoo)
            await odoo.search_read(
                PARTNER, [["is_registrant", "=", True]], ["is_group"], what="read a registrant", limit=1
            )
            return "Signed in; the registry knows every field that is mapped."

        return await measured(probe)

    async def push(self, records: Sequence[Outgoing]) -> Sequence[Outcome]:
        if not records:
            return []
        if self._has_pushed and self._options.batch_delay_ms:
            await self._sleep(self._options.batch_delay_ms / 1000)
        self._has_pushed = True
        registry = await self._ready(PUSH_FAILED)
        push = Push(self._odoo, registry, self._options, self._mappings, self._context, records, self._sleep)
        return await push.run()

    async def pull(self, mark: str | None) -> Page:
        registry = await self._ready(PULL_FAILED)
        at_once = self._rows_at_once
        pull = Pull(self._odoo, registry, self._options, self._mappings, self._forms, self._context.clock, at_once)
        try:
            page = await pull.page(mark)
        except CallFailed as failed:
            raise failed.error(PULL_FAILED) from None
        # Where one page has to be small the next one may have to be; after that they grow again.
        is_smaller = pull.page_size < at_once
        self._rows_at_once = pull.page_size if is_smaller else min(2 * at_once, self.page_size)
        return page

    async def close(self) -> None:
        self._registry = None

    async def _ready(self, code: str) -> Registry:
        """Raises `AdapterError`, `Misconfigured`."""
        if self._registry is None:
            try:
                self._registry = await self._look_around(self._odoo)
            except CallFailed as failed:
                raise failed.error(code) from None
        return self._registry

    async def _look_around(self, odoo: Odoo) -> Registry:
        await odoo.sign_in()
        await require_registrar(odoo, self._options.registrar_group)
        return await look_around(odoo, NAME, self._options, self._context.mappings)

    def _connect(self, *, tries: int) -> Odoo:
        options = self._options
        return Odoo(
            self._context.client,
            options.base_url,
            database=options.database,
            username=options.username,
            password=options.password,
            tries=tries,
            write_seconds=options.write_seconds,
        )

    @property
    def _forms(self) -> Mapping[RecordType, str]:
        """What a new entity of each type is called: by the form of that type, if the program has exactly one."""
        found = {}
        for type_ in RecordType:
            named = [name for name, of in self._context.form_types.items() if of == type_.value]
            found[type_] = named[0] if len(named) == 1 else type_.value
        return found
