"""A small IMAP server: what a client needs to read a folder, in the ways in which servers differ, and with their faults."""

import asyncio
import base64
import re
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

CLOSE, CLOSE_AFTER, HANG, CHATTER, SAY_NO = "closes", "closes after doing it", "hangs", "chatters", "says no"
Fault = str | bytes
"""What happens at a command; bytes are said instead of the answer, {tag} in them is the command's."""

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\([^)]*\)|\S+)')


@dataclass
class Kept:
    """A mail in a folder."""

    uid: int
    raw: bytes
    flags: set[str] = field(default_factory=set)


class _Closed(Exception):
    pass


class ImapServer:
    """The server, and what it has heard and holds."""

    def __init__(
        self,
        mails: Iterable[bytes] = (),
        *,
        before: str = "IMAP4rev1 AUTH=PLAIN",
        after: str = "IMAP4rev1 MOVE UIDPLUS",
        tls: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
        uid_last: bool = False,
    ) -> None:
        self.folders: dict[str, list[Kept]] = {"INBOX": []}
        self.before = before
        self.after = after
        self.user, self.password = "user", "pass"
        self.heard: list[str] = []
        """The commands, with their arguments."""
        self.sessions = 0
        self.open_sessions = 0
        self.faults: dict[str, Fault] = {}
        self.vanish_at_fetch: set[int] = set()
        self._tls = tls
        self._starttls = starttls
        self._uid_last = uid_last
        self._next_uid = 1
        self.deliver(*mails)

    def deliver(self, *mails: bytes, folder: str = "INBOX") -> None:
        for raw in mails:
            self.folders[folder].append(Kept(self._next_uid, raw))
            self._next_uid += 1

    def raws(self, folder: str = "INBOX", *, without: str = "") -> list[bytes]:
        return [kept.raw for kept in self.folders.get(folder, []) if without not in kept.flags]

    def names(self) -> list[str]:
        """The commands without their arguments."""
        return [" ".join(re.findall(r"^(?:UID )?\w+", line)) for line in self.heard]

    async def __aenter__(self) -> Self:
        self.all_closed = asyncio.Event()
        self.hanging = asyncio.Event()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()
        if self.open_sessions:
            await self.all_closed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        self.open_sessions += 1
        self.all_closed.clear()
        try:
            await _Session(self, reader, writer).run()
        except (_Closed, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_sessions -= 1
            writer.close()
            if not self.open_sessions:
                self.all_closed.set()

    def put(self, kept: Kept, folder: str) -> None:
        self.deliver(kept.raw, folder=folder)
        self.folders[folder][-1].flags = set(kept.flags)

    @property
    def starttls(self) -> ssl.SSLContext | None:
        return self._starttls

    @property
    def uid_last(self) -> bool:
        return self._uid_last


@contextmanager
def in_a_thread(server: ImapServer) -> Iterator[ImapServer]:
    """The server, running in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    yield server
    asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class _Session:
    def __init__(self, server: ImapServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.signed_in = False
        self.folder = ""

    def say(self, text: str | bytes) -> None:
        self.writer.write((text.encode() if isinstance(text, str) else text) + b"\r\n")

    async def line(self) -> str:
        line = await self.reader.readline()
        if not line:
            raise _Closed
        return line.decode().rstrip("\r\n")

    async def run(self) -> None:
        await self._obey("", "GREETING", [])
        while True:
            line = await self.line()
            tag, _, command = line.partition(" ")
            self.server.heard.append(command)
            words = [re.sub(r"\\(.)", r"\1", quoted) or plain for quoted, plain in _WORD.findall(command)]
            name = words.pop(0).upper()
            if name == "UID":
                name = f"UID {words.pop(0).upper()}"
            await self._obey(tag, name, words)

    async def _obey(self, tag: str, name: str, words: list[str]) -> None:
        fault = self.server.faults.get(name)
        if fault == CLOSE:
            raise _Closed
        if fault == HANG:
            self.server.hanging.set()
            await self.reader.read()
            raise _Closed
        while fault == CHATTER:
            self.say("* OK still thinking")
            await self.writer.drain()
            await asyncio.sleep(0)  # `drain` alone lets nobody else have a turn
        if fault == SAY_NO:
            self.say(f"{tag} NO [CANNOT] not today")
        elif isinstance(fault, bytes):
            self.say(fault.replace(b"{tag}", tag.encode()))
        else:
            done = await getattr(self, "do_" + name.lower().replace(" ", "_"))(tag, words)
            if fault == CLOSE_AFTER:
                raise _Closed
            self.say(done)
        await self.writer.drain()
        if name == "LOGOUT":
            raise _Closed

    # -- the commands --

    async def do_greeting(self, _tag: str, _words: list[str]) -> str:
        return "* OK ready"

    async def do_capability(self, tag: str, _words: list[str]) -> str:
        known = self.server.after if self.signed_in else self.server.before
        return f"* CAPABILITY {known}\r\n{tag} OK done"

    async def do_starttls(self, tag: str, _words: list[str]) -> str:
        assert self.server.starttls is not None
        self.say(f"{tag} OK begin")
        await self.writer.start_tls(self.server.starttls)
        return "* OK encrypted"

    async def do_authenticate(self, tag: str, _words: list[str]) -> str:
        self.say("+ ")
        _, user, password = base64.b64decode(await self.line()).decode().split("\0")
        return self._sign_in(tag, user, password)

    async def do_login(self, tag: str, words: list[str]) -> str:
        return self._sign_in(tag, words[0], words[1])

    def _sign_in(self, tag: str, user: str, password: str) -> str:
        self.signed_in = (user, password) == (self.server.user, self.server.password)
        answer = "OK welcome" if self.signed_in else f"NO [AUTHENTICATIONFAILED] not {user} with {password}"
        return f"{tag} {answer}"

    async def do_select(self, tag: str, words: list[str]) -> str:
        if words[0] not in self.server.folders:
            return f"{tag} NO there is no such folder"
        self.folder = words[0]
        return f"* {len(self.kept)} EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Seen)\r\n{tag} OK [READ-WRITE] selected"

    @property
    def kept(self) -> list[Kept]:
        return self.server.folders[self.folder]

    def _meant(self, uids: str) -> list[Kept]:
        wanted = {int(uid) for uid in uids.split(",")}
        return [kept for kept in self.kept if kept.uid in wanted]

    async def do_uid_search(self, tag: str, words: list[str]) -> str:
        first, _, last = words[0].partition(":")
        found = self.kept[int(first) - 1 : int(last)]
        for criterion in words[1:]:
            flag = {"UNSEEN": "\\Seen", "UNDELETED": "\\Deleted"}[criterion]
            found = [kept for kept in found if flag not in kept.flags]
        return f"* SEARCH {' '.join(str(kept.uid) for kept in found)}".rstrip() + f"\r\n{tag} OK done"

    async def do_uid_fetch(self, tag: str, words: list[str]) -> str:
        longest = int(words[1].rpartition(".")[2].rstrip(">)"))
        wanted = {int(uid) for uid in words[0].split(",")} - self.server.vanish_at_fetch
        for number, kept in enumerate(self.kept, 1):
            if kept.uid in wanted:
                raw = kept.raw[:longest]
                body = b"BODY[]<0> {%d}\r\n%s" % (len(raw), raw) if raw else b'BODY[]<0> ""'
                uid = b"UID %d" % kept.uid
                inside = body + b" " + uid if self.server.uid_last else uid + b" " + body
                self.say(b"* %d FETCH (%s)" % (number, inside))
        self.say(r"* 1 FETCH (FLAGS (\Flagged))")  # somebody else does something
        return f"{tag} OK done"

    async def do_uid_store(self, tag: str, words: list[str]) -> str:
        assert words[1] == "+FLAGS.SILENT"
        for kept in self._meant(words[0]):
            kept.flags |= set(words[2].strip("()").split())
        return f"{tag} OK done"

    async def do_uid_copy(self, tag: str, words: list[str]) -> str:
        if words[1] not in self.server.folders:
            return f"{tag} NO [TRYCREATE] there is no such folder"
        for kept in self._meant(words[0]):
            self.server.put(kept, words[1])
        return f"{tag} OK done"

    async def do_uid_move(self, tag: str, words: list[str]) -> str:
        assert "MOVE" in self.server.after
        moved = await self.do_uid_copy(tag, words)
        if " OK " in moved:
            self._expunge(self._meant(words[0]))
        return moved

    async def do_uid_expunge(self, tag: str, words: list[str]) -> str:
        assert "UIDPLUS" in self.server.after
        self._expunge([kept for kept in self._meant(words[0]) if "\\Deleted" in kept.flags])
        return f"{tag} OK done"

    def _expunge(self, gone: list[Kept]) -> None:
        for kept in gone:
            self.say(f"* {self.kept.index(kept) + 1} EXPUNGE")
            self.kept.remove(kept)

    async def do_create(self, tag: str, words: list[str]) -> str:
        self.server.folders.setdefault(words[0], [])
        return f"{tag} OK created"

    async def do_logout(self, tag: str, _words: list[str]) -> str:
        return f"* BYE see you\r\n{tag} OK done"
