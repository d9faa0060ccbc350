"""Reading the mailbox that bounces come to, over IMAP: a mail counts as read only after it has been dealt with.

So none is lost; after a crash some come again. The standard library's client speaks to the server in a thread:
aioimaplib waits without end for the answer to a STORE or MOVE when the connection is lost.
"""

import asyncio
import base64
import imaplib
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from cartwheel.bounces.boxurl import Box
from cartwheel.bounces.mailparts import MOST_BYTES
from cartwheel.bounces.reports import one_line
from cartwheel.errors import CartwheelError, Overloaded, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

_AT_ONCE = 20
"""Mails that are fetched, and marked as read, with one command."""

_SEARCHED_AT_ONCE = 10_000
_LONGEST_LITERAL = MOST_BYTES + 1024


class BoxTrouble(CartwheelError):
    """The mailbox for bounces cannot be read."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What became of the mails of one visit."""

    taken: int
    failed: int
    """They could not be dealt with, or fetched. They stay, and are tried again after all others."""

    more: bool
    """Others wait that were never tried."""


class BounceBox:
    """The mailbox, visit by visit."""

    def __init__(self, box: Box, *, timeout_s: float = 30.0) -> None:
        self._box = box
        self._timeout_s = timeout_s
        self._failed: set[int] = set()

    async def collect(self, take: Callable[[bytes], Awaitable[None]], *, most: int = 500) -> Collected:
        """Hand up to so many mails to `take`, one after the other, each cut off at `MOST_BYTES`.

        When `take` raises `Unavailable` or `Overloaded`, the visit ends and raises it. Raises `BoxTrouble`.
        """
        visit = _Visit(self._box, self._timeout_s)
        try:
            await self._answer(visit.open)
            found = await self._answer(visit.waiting, most + len(self._failed))
            self._failed &= set(found)
            more = len(found) - len(self._failed) > most
            taken = failed = 0
            for uids in _batches(sorted(found, key=lambda uid: uid in self._failed)[:most]):
                mails = await self._answer(visit.fetch, uids)
                done = await self._hand_over(visit, mails, take)
                self._give_up({*uids} - {*done})
                taken, failed = taken + len(done), failed + len(uids) - len(done)
            await self._answer(visit.close)
        finally:
            visit.cut()
        return Collected(taken, failed, more)

    async def _hand_over(
        self, visit: "_Visit", mails: dict[int, bytes], take: Callable[[bytes], Awaitable[None]]
    ) -> list[int]:
        done: list[int] = []
        for uid, raw in mails.items():
            try:
                await take(raw)
                done.append(uid)
            except (Unavailable, Overloaded):
                await self._mark(visit, done)
                raise
            except Exception:  # one mail must not keep the others from being read
                if uid not in self._failed:
                    log.exception("mail %d could not be dealt with", uid)
        await self._mark(visit, done)
        return done

    def _give_up(self, uids: set[int]) -> None:
        """For this time. Some may only have been deleted meanwhile; those are not found again."""
        if new := sorted(uids - self._failed):
            log.warning("%s: mails stay that could not be dealt with: %s", self._box.name, new)
        self._failed |= uids

    async def _mark(self, visit: "_Visit", done: list[int]) -> None:
        if done:
            await self._answer(visit.mark, done)
            self._failed -= set(done)

    async def _answer(self, ask: Callable[..., T], *args: object) -> T:
        """What the server answers, which may take its time, but not any time."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.to_thread(ask, *args)
        except TimeoutError:
            raise BoxTrouble(f"{self._box.name}: no answer for {self._timeout_s:g} s") from None
        except (imaplib.IMAP4.error, OSError, ValueError) as error:
            said = one_line(str(error).replace(self._box.password, "***"))
            raise BoxTrouble(f"{self._box.name}: {said or type(error).__name__}") from error


def _batches(uids: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(uids)
    while batch := list(islice(rest, _AT_ONCE)):
        yield batch


# -- one visit --


def _bounded(size: int) -> int:
    if size > _LONGEST_LITERAL:
        raise imaplib.IMAP4.abort("the server sends more than was asked for")
    return size


class _Plain(imaplib.IMAP4):
    def read(self, size: int) -> bytes:
        return super().read(_bounded(size))


class _Encrypted(imaplib.IMAP4_SSL):
    def read(self, size: int) -> bytes:
        return super().read(_bounded(size))


_FETCHED_UID = re.compile(rb"\bUID ([0-9]{1,10})\b")
_NO_LITERAL = re.compile(rb'\bBODY\[\](?:<0>)? (?:NIL|"([^"]*)")')


class _Visit:
    """A session with the server. Each method waits for its answer, so it is called in a thread."""

    def __init__(self, box: Box, timeout_s: float) -> None:
        self._box = box
        self._timeout_s = timeout_s
        self._client: imaplib.IMAP4 | None = None
        self._is_cut = False
        self._has: set[str] = set()
        self._exists = 0

    @property
    def _server(self) -> imaplib.IMAP4:
        if self._client is None or self._is_cut:
            raise imaplib.IMAP4.abort("the connection was closed")
        return self._client

    def open(self) -> None:
        box = self._box
        if box.encrypted:
            self._client = _Encrypted(box.host, box.port, ssl_context=self._context(), timeout=self._timeout_s)
        else:
            self._client = _Plain(box.host, box.port, timeout=self._timeout_s)
        if self._is_cut:  # while it was being opened
            self._drop()
        if not box.encrypted and not box.is_here:
            self._server.starttls(self._context())
        self._sign_in()
        said = self._ask(*self._server.capability())[-1]  # many servers tell strangers less
        self._has = set(str(said or b"", "ascii", "replace").upper().split())
        exists = self._ask(*self._server.select(_mailbox(self._box.folder)))[-1]
        self._exists = int(exists or 0)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if not self._box.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _sign_in(self) -> None:
        user, password = self._box.user, self._box.password
        if "AUTH=PLAIN" in self._server.capabilities:  # it takes any characters
            self._server.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
        else:
            self._server.login(_quoted(user), password)

    def waiting(self, most: int) -> list[int]:
        """Mails that nobody has dealt with, the oldest first, and one more than `most` if there are."""
        criteria = ["UNDELETED"] if self._box.done else ["UNSEEN", "UNDELETED"]
        found: list[int] = []
        for start in range(1, self._exists + 1, _SEARCHED_AT_ONCE):
            end = min(start + _SEARCHED_AT_ONCE - 1, self._exists)
            lines = self._ask(*self._server.uid("SEARCH", f"{start}:{end}", *criteria))
            found += [int(word) for line in lines if isinstance(line, bytes) for word in line.split()]
            if len(found) > most:
                break
        return found[: most + 1]

    def fetch(self, uids: list[int]) -> dict[int, bytes]:
        """What is still there of them, unmarked as it was."""
        parts = self._ask(*self._server.uid("FETCH", _set(uids), f"(BODY.PEEK[]<0.{MOST_BYTES}>)"))
        mails: dict[int, bytes] = {}
        for part, following in zip(parts, [*parts[1:], b""], strict=True):
            if isinstance(part, tuple):
                about, raw = part[0] + (following if isinstance(following, bytes) else b""), part[1]
            elif short := _NO_LITERAL.search(part or b""):
                about, raw = part, short[1] or b""
            else:
                continue
            if uid := _FETCHED_UID.search(about):
                mails[int(uid[1])] = raw
        return {uid: mails[uid] for uid in uids if uid in mails}

    def mark(self, uids: list[int]) -> None:
        """Mark them as read, or move them to the folder for what has been read."""
        if not self._box.done:
            self._ask(*self._server.uid("STORE", _set(uids), "+FLAGS.SILENT", r"(\Seen)"))
            return
        if "MOVE" in self._has:
            self._put("MOVE", uids)
            return
        self._put("COPY", uids)
        self._ask(*self._server.uid("STORE", _set(uids), "+FLAGS.SILENT", r"(\Seen \Deleted)"))
        if "UIDPLUS" in self._has:  # otherwise what others have marked would go, too
            self._ask(*self._server.uid("EXPUNGE", _set(uids)))

    def _put(self, command: str, uids: list[int]) -> None:
        folder = _mailbox(self._box.done)
        answer, _ = self._server.uid(command, _set(uids), folder)
        if answer != "OK":  # most likely the folder is not there yet
            self._server.create(folder)
            self._ask(*self._server.uid(command, _set(uids), folder))

    def close(self) -> None:
        self._server.logout()

    def cut(self) -> None:
        """End the connection. Who still waits for an answer on it in a thread is told at once."""
        self._is_cut = True
        self._drop()

    def _drop(self) -> None:
        if self._client is not None:
            with suppress(OSError):
                self._client.socket().shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                self._client.shutdown()

    @staticmethod
    def _ask(answer: str, lines: list[T]) -> list[T]:
        if answer != "OK":
            raise imaplib.IMAP4.error(f"the server says {answer} {lines[-1] if lines else ''}")
        return lines


def _set(uids: list[int]) -> str:
    return ",".join(map(str, uids))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _mailbox(name: str) -> str:
    """A folder's name as it is sent: with whatever is not ASCII in IMAP's own UTF-7."""

    def encode(found: re.Match[str]) -> str:
        if found[0] == "&":
            return "&-"
        text = base64.b64encode(found[0].encode("utf-16-be")).decode()
        return f"&{text.rstrip('=').replace('/', ',')}-"

    return _quoted(re.sub(r"&|[^\x20-\x7e]+", encode, name))
