"""Bounces that come back as mail: what one of them reports is recorded, be it read from the mailbox or piped in."""

import asyncio
import logging
from typing import NamedTuple

from cartwheel.bounces.bouncebox import BounceBox, BoxTrouble
from cartwheel.bounces.boxurl import Box
from cartwheel.bounces.reading import read_report
from cartwheel.bounces.reports import Report
from cartwheel.data.db import Database
from cartwheel.mail.links import Signer
from cartwheel.sending import tracking
from cartwheel.work.batches import Batches

log = logging.getLogger(__name__)


class Heard(NamedTuple):
    """What came of one mail."""

    report: Report | None
    """None when it is no report: then most likely a person wrote it."""

    mails: int
    """Of how many mails that were sent something is known now: none, when the report names none of them."""


async def hear(raw: bytes, batches: Batches, database: Database, signer: Signer) -> Heard:
    """Record what a mail reports; once more is as good as once. Raises `Overloaded` or `Unavailable`."""
    report = await asyncio.to_thread(read_report, raw)
    if report is None:
        return Heard(None, 0)
    return Heard(report, await tracking.record(report, batches, database, signer))


class BounceReader:
    """Visits the mailbox that bounces come to."""

    def __init__(self, box: Box, batches: Batches, database: Database, signer: Signer) -> None:
        self._name = box.name
        self._box = BounceBox(box)
        self._batches = batches
        self._database = database
        self._signer = signer

    async def round(self) -> bool:
        """One visit; true if others wait."""
        recorded = 0

        async def take(raw: bytes) -> None:
            nonlocal recorded
            recorded += (await hear(raw, self._batches, self._database, self._signer)).mails

        try:
            collected = await self._box.collect(take)
        except BoxTrouble as trouble:
            log.warning("bounces cannot be read: %s", trouble)
            return False
        if collected.taken:
            log.info("%s: %d mails were read, %d of them about mail of ours", self._name, collected.taken, recorded)
        return collected.more
