"""What the inspector shows of the API's calls: kept in memory as they come, written every few seconds by a loop.

A call pays for a look at two values and an append. The newest of each App count: whatever comes faster than it is written
pushes out the older ones. Credentials are taken out before anything is stored.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from cartwheel.api import redaction, wire
from cartwheel.api.bodies import Tree
from cartwheel.api.dispatch import Answer, Request
from cartwheel.api.wire import Reply
from cartwheel.data import callstore
from cartwheel.data.catalog import Catalog, key_digest
from cartwheel.data.db import Database
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.errors import Unavailable
from cartwheel.process.loops import Loop
from cartwheel.times import to_micros

log = logging.getLogger(__name__)

ROUND_S = 2.0

MOST_APPS = 200
"""So many Apps' calls are held between two rounds, so that the memory is bounded."""

MOST_REHEARSED = 20
"""Where no calls are kept: of those that were tried on our own pages."""

LONGEST_TEXT = 400
"""Of an address or a label in a column of its own."""


SET_BACK_MICROS = 1_000_000
"""A call that is so much earlier than one before was not overtaken: the clock was set back."""


class Seen(NamedTuple):
    """A call that was answered."""

    request_id: str
    at: datetime
    seconds: float
    request: Request
    answer: Answer


class Recorder:
    """One for a process. `most` calls of each App; 0 records nothing."""

    def __init__(
        self, database: Database, catalog: Callable[[], Catalog], *, clock: Callable[[], datetime], most: int
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._records = most > 0
        self._most = most or MOST_REHEARSED
        self._seen: dict[tuple[int, str], deque[Seen]] = {}
        self._last_at = 0
        self._writing = asyncio.Lock()
        self._loop = Loop("inspector", self._round, ROUND_S)

    def start(self) -> None:
        if self._records:
            self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()
        try:
            await self._round()
        except Unavailable as trouble:
            log.warning("the last calls were not kept for the inspector: %s", trouble)

    def note(
        self, request_id: str, request: Request, answer: Answer, seconds: float, *, rehearsed: bool = False
    ) -> None:
        """On the way of every call. One that somebody has just tried is kept in any case: it is shown next."""
        if not (self._records or rehearsed):
            return
        caller = answer.caller
        bucket = (caller.key.account_id, caller.app.origin) if caller else _STRANGERS
        seen = self._seen.get(bucket)
        if seen is None:
            if len(self._seen) >= MOST_APPS:
                return
            seen = self._seen[bucket] = deque(maxlen=self._most)
        seen.append(Seen(request_id, self._clock(), seconds, request, answer))

    async def _round(self) -> bool:
        await self.flush()
        return False

    async def flush(self) -> None:
        """Write what has come. What cannot be written is lost: calls do not wait for it."""
        async with self._writing:
            taken, self._seen = self._seen, {}
            if taken:
                await asyncio.to_thread(self._write, taken, self._catalog())

    def _write(self, taken: dict[tuple[int, str], deque[Seen]], catalog: Catalog) -> None:
        used: dict[str, int] = {}
        rows: list[dict[str, Any]] = []
        spell = lru_cache(MOST_APPS)(redaction.spellings)  # the same few in most calls; forgotten with the round
        calls = sorted((seen for each in taken.values() for seen in each), key=lambda seen: seen.at)
        for seen in calls:
            at = self._last_at = self._after(to_micros(seen.at))
            caller = seen.answer.caller
            if caller is not None and caller.key.key_digest:
                used[caller.key.key_digest] = at
            account_id, app = _whose(seen, catalog)
            if account_id:
                rows.append({"account_id": account_id, "app": app, "at": at, **_row(seen, spell)})
        if rows:
            with self._database.write() as connection:
                callstore.write(connection, rows, used, self._most)

    def _after(self, at: int) -> int:
        """Their order is told by their times, unless the clock was set back."""
        return max(self._last_at + 1, at) if self._last_at - at < SET_BACK_MICROS else at


_STRANGERS = (0, "")


def _whose(seen: Seen, catalog: Catalog) -> tuple[int, str]:
    """The account that a call was meant for, and the App's origin; 0 if nobody can tell."""
    caller = seen.answer.caller
    if caller is not None:
        return caller.key.account_id, caller.app.origin
    tree = seen.answer.tree
    if tree is None:
        given, digest = redaction.app_ids_in(seen.request.body), ""
    else:
        given, digest = [_text(tree.get("app_id"))], key_digest(_text(tree.get("api_key")))
    app = next((catalog.apps[app_id] for app_id in given if app_id in catalog.apps), None)
    key = catalog.keys.get(digest)
    account_id = key.account_id if key else app.account_id if app else 0
    return account_id, app.origin if app else ""


def _row(seen: Seen, spell: Callable[[frozenset[str]], Sequence[str]]) -> dict[str, Any]:
    request, answer, tree = seen.request, seen.answer, seen.answer.tree
    spelled = spell(redaction.secrets_in(tree)) if tree is not None else ()
    body = redaction.redact_unread(request.body) if tree is None else redaction.redact_body(request.body, spelled)
    query = redaction.redact_form(request.query[: redaction.MOST_KEPT].decode(errors="replace"))
    told = msgspec.json.encode([[*pair] for pair in answer.told]).decode()
    found = [*answer.about, None, None]
    return {
        "request_id": seen.request_id,
        "admitted": answer.caller is not None,
        "ok": answer.refused is None and not any(type_ in _ERRORS for _, type_ in answer.told),
        "refused": _said(answer.refused, spelled) if answer.refused else "",
        "told": redaction.redact_values(told, spelled),
        "lead": found[0],
        "other_lead": next((number for number in found[1:] if number != found[0]), None),
        **_addresses(tree or {}),
        "client": seen.request.client.text if seen.request.client.address else "",
        "content_type": redaction.redact_values(request.content_type[:LONGEST_TEXT], spelled).replace("\0", ""),
        "query": redaction.redact_values(query, spelled).replace("\0", ""),
        "body": body,
        "tree": "" if tree is None else redaction.as_text(tree, spelled),
        "answer": redaction.redact_values(answer.body.decode()[: redaction.MOST_KEPT], spelled),
        "status": 429 if answer.too_many else 200,
        "micros": round(seen.seconds * 1_000_000),
    }


def _said(reply: Reply, spelled: Sequence[str]) -> str:
    return redaction.redact_values(f"{reply.type} {reply.message}"[:LONGEST_TEXT], spelled)


_ERRORS = frozenset(reply.type for reply in wire.replies() if reply.status == wire.ERROR)


def _addresses(tree: Tree) -> dict[str, str]:
    lead, get_lead = wire.one_object(tree.get("lead")) or {}, wire.one_object(tree.get("get_lead")) or {}
    asked = _address(get_lead.get("email"))
    email = _address(lead.get("email")) or asked
    return {
        "email": email,
        "new_email": _address(lead.get("new_email")),
        "other_email": asked if asked != email else "",
    }


def _address(sent: object) -> str:
    """As it is stored of a lead, or what was sent instead of one."""
    text = _text(sent)[:LONGEST_TEXT]
    if not text:
        return ""
    try:
        return read_email(text)
    except EmailNotValid:
        return text.lower()


def _text(sent: object) -> str:
    return (wire.text(sent) or "").strip()
