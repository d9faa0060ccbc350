"""Taking an import back: slice by slice the leads that it has made, then what it has changed of others, then what it made.

What somebody has changed since stays, and is counted.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from typing import Any

import msgspec

from cartwheel.data import catalogchanges, importstore, importundo
from cartwheel.data.db import Database
from cartwheel.data.importstore import Import, State
from cartwheel.data.lanes import Lane
from cartwheel.data.leadstore import Wanted
from cartwheel.imports.slicework import Elsewhere
from cartwheel.leads import importing
from cartwheel.leads.events import by_import
from cartwheel.leads.importing import Change
from cartwheel.times import to_micros
from cartwheel.work.batches import Batches, Desk, IdempotencyKey, Work

AT_ONCE = 200


class PutBackWork:
    """One lead that there was before is as it was."""

    idempotency: IdempotencyKey | None = None
    may_make_lead = False

    def __init__(self, found: Import, lead_id: int, change: Change | None) -> None:
        self._found, self._id, self._change = found, lead_id, change
        self.origin = by_import(found.id)
        self.wanted: Sequence[Wanted] = [Wanted(found.account_id, lead_id, None, importing.NEEDED)] if change else []

    def decide(self, desk: Desk) -> bool | None:
        """Whether all of it; None if nothing was changed."""
        key = (self._found.account_id, self._found.id, self._id)
        desk.put(importundo.NOTED_GONE, key)
        if self._change is None:
            return None
        lead = desk.any_lead(self._found.account_id, self._id)
        if lead is None or lead.erased:
            return False
        reverted = importing.revert(lead, self._change, desk.now)
        for number in reverted.lists:
            desk.put(importundo.LIST_GONE, (lead.account_id, lead.id, number))
        if reverted.address:
            desk.put(importundo.ADDRESS_GONE, (lead.account_id, lead.email))
        if reverted.whole:
            lead.events.clear()
            desk.put(importundo.EVENTS_GONE, (lead.account_id, lead.id, self.origin))
        return reverted.whole


class Undoing:
    """Of all accounts' imports."""

    def __init__(self, database: Database, batches: Batches, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._batches = batches
        self._clock = clock

    async def step(self, found: Import) -> bool:
        """Some of it; false when it is done. Raises `Elsewhere`."""
        if found.done:
            await asyncio.to_thread(
                self._take_slice_back, found, (await self._batches.refresh()).accounts[found.account_id].zone
            )
            return True
        noted = await asyncio.to_thread(self._noted, found)
        if not noted:
            await asyncio.to_thread(self._finish, found)
            return False
        decoder = msgspec.json.Decoder(Change)
        pieces: list[Work[bool | None]] = [
            PutBackWork(found, number, decoder.decode(written) if written else None) for number, written in noted
        ]

        async def find(lane: Lane, _now: datetime) -> list[Work[bool | None]]:
            [(state, done)] = await lane.fetch(importstore.PLACE, [(found.account_id, found.id)])
            if (state, done) != (State.UNDOING.value, 0):
                raise Elsewhere
            return pieces

        results = await self._batches.together(find, [])
        await asyncio.to_thread(
            self._count, found, results.count(True), len(results) - results.count(True) - results.count(None)
        )
        return True

    def _take_slice_back(self, found: Import, zone: tzinfo | None) -> None:
        at = found.done - 1
        with self._database.write() as connection:
            again = importstore.get(connection, found.account_id, found.id)
            if again is None or again.state is not State.UNDOING or again.done != found.done:
                raise Elsewhere
            gone, kept = importundo.take_back(connection, found, at, zone)
            values: dict[str, Any] = {"done": at, "undone": again.undone + gone, "kept": again.kept + kept}
            values["next_at"] = to_micros(self._clock() + importstore.TAKEN_FOR)
            importstore.change(connection, found.account_id, found.id, **values)

    def _noted(self, found: Import) -> list[tuple[int, str]]:
        with self._database.read() as connection:
            return importundo.noted(connection, found, AT_ONCE)

    def _count(self, found: Import, put_back: int, kept: int) -> None:
        with self._database.write() as connection:
            again = importstore.get(connection, found.account_id, found.id)
            assert again is not None
            values: dict[str, Any] = {"undone": again.undone + put_back, "kept": again.kept + kept}
            importstore.change(connection, found.account_id, found.id, **values)

    def _finish(self, found: Import) -> None:
        with catalogchanges.changing(self._database, found.account_id) as connection:
            again = importstore.get(connection, found.account_id, found.id)
            assert again is not None
            importundo.unmake(connection, again)
            importundo.close(connection, again, state=State.UNDONE.value, ended_at=to_micros(self._clock()))
