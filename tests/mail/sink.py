"""A mail server that does what a script says, and keeps to the letter what it took.

    async with Sink(rcpt=["550 5.1.1 unknown user", AS_USUAL, DROP]) as sink:

A script has for each phase what is done each time it is reached, over all connections; when it is used up, things go as
usual. Without `async` the sink runs in a thread of its own.
"""

import asyncio
import base64
import socket
import ssl
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlencode

EXTENSIONS = ("PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
PHASES = ("connect", "ehlo", "starttls", "auth", "rset", "mail", "rcpt", "data", "body", "dot")


class Deed(Enum):
    """What a server can do instead of answering. Only what has TAKE in its name takes the message."""

    AS_USUAL = "as usual"
    DROP = "drop"
    RESET = "reset"
    STALL = "stall"
    WAIT = "wait"
    """As usual, but only after the sink was told to `go_on`."""
    DEAF = "deaf"
    """Stall, and read no more."""
    TAKE_AND_DROP = "take and drop"
    TAKE_AND_STALL = "take and stall"
    TAKE_AND_BABBLE = "take and babble"
    """The answer is none."""


AS_USUAL = Deed.AS_USUAL
DROP = Deed.DROP
RESET = Deed.RESET
STALL = Deed.STALL
WAIT = Deed.WAIT
DEAF = Deed.DEAF
TAKE_AND_DROP = Deed.TAKE_AND_DROP
TAKE_AND_STALL = Deed.TAKE_AND_STALL
TAKE_AND_BABBLE = Deed.TAKE_AND_BABBLE

TAKING = {TAKE_AND_DROP, TAKE_AND_STALL, TAKE_AND_BABBLE}

Act = str | Deed
"""A reply (its lines with line feeds between them; several replies with CRLF between them), or a deed."""


@dataclass(frozen=True)
class Taken:
    """A message that the sink took; MAIL's and RCPT's arguments as they came."""

    mail: str
    rcpt: str
    data: bytes


@dataclass
class _Transaction:
    mail: str = ""
    rcpt: list[str] = field(default_factory=list)


class _End(Exception):
    def __init__(self, deed: Deed) -> None:
        super().__init__(deed.value)
        self.deed = deed


class Sink:
    """The server. `messages` holds what it took, `commands` what it was told, `violations` how it was mistreated."""

    def __init__(
        self,
        script: Mapping[str, Sequence[Act]] = {},
        *,
        extensions: Sequence[str] = EXTENSIONS,
        starttls: ssl.SSLContext | None = None,
        tls: ssl.SSLContext | None = None,
        users: Mapping[str, str] = {},
        window: int = 0,
        port: int = 0,
        **acts: Sequence[Act],
    ) -> None:
        self.script = {phase: list(acts) for phase, acts in {**script, **acts}.items()}
        assert set(self.script) <= set(PHASES)
        self.extensions = list(extensions)
        self.starttls, self.tls, self.users = starttls, tls, users
        self.window = window
        self.messages: list[Taken] = []
        self.commands: list[str] = []
        self.violations: list[str] = []
        self.connections = 0
        self.pipelined = 0
        self.port = port
        self.waiting = 0
        """How many sessions are at a `WAIT`."""
        self._gate = asyncio.Event()
        self._heard = asyncio.Event()
        self._sessions: dict[_Session, asyncio.Task[None]] = {}
        self._thread: threading.Thread | None = None

    def url(self, *, scheme: str = "smtp", credentials: str = "", **options: object) -> str:
        return f"{scheme}://{credentials}127.0.0.1:{self.port}?{urlencode(options)}"

    async def next_act(self, phase: str, usual: Act) -> Act:
        acts = self.script.get(phase)
        act = acts.pop(0) if acts else AS_USUAL
        if act is WAIT:
            self.waiting += 1
            await self._gate.wait()
        return usual if act in {AS_USUAL, WAIT} else act

    def go_on(self) -> None:
        """Nobody waits any more. For a sink that runs in a thread."""
        self._loop.call_soon_threadsafe(self._gate.set)

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", self.port))
        if self.window:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.window)
        self.port = listener.getsockname()[1]
        self._server = await asyncio.get_running_loop().create_server(lambda: _Session(self), sock=listener)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        self.drop_all()
        for task in self._sessions.values():
            task.cancel()
        await asyncio.gather(*self._sessions.values(), return_exceptions=True)

    def welcome(self, session: "_Session") -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(session.run())
        self._sessions[session] = task
        task.add_done_callback(lambda _: self._sessions.pop(session))

    async def heard(self, command: str) -> None:
        """Wait until somebody has said this."""
        while command not in self.commands:
            self._heard.clear()
            await self._heard.wait()

    async def deserted(self) -> None:
        """Wait until all who called have hung up."""
        await asyncio.gather(*self._sessions.values())

    def hear(self, command: str) -> None:
        self.commands.append(command)
        self._heard.set()

    def say(self, text: str) -> None:
        """Say something to everybody, out of turn."""
        for session in self._sessions:
            session.say(text)

    def drop_all(self) -> None:
        """Close every connection."""
        for session in self._sessions:
            session.hang_up()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self.__aenter__(), self._loop).result(10)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self.__aexit__(kind, value, traceback), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        assert self._thread is not None
        self._thread.join()
        self._loop.close()


class _Session(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._slow = sink.window > 0
        self._buffer = bytearray()
        self._transaction = _Transaction()
        self._news = asyncio.Event()
        self._over = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._sink.welcome(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._news.set()
        if self._slow:
            self.transport.pause_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._over.set()
        self._news.set()

    def hang_up(self) -> None:
        self.transport.abort()

    async def run(self) -> None:
        try:
            if self._sink.tls:
                await self._encrypt(self._sink.tls)
            await self._answer("connect", "220 sink.example ESMTP")
            while await self._command():
                pass
        except _End as end:
            await self._do(end.deed)
        except (OSError, EOFError):
            pass
        self.transport.close()

    async def _encrypt(self, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        slow, self._slow = self._slow, False
        encrypted = await loop.start_tls(self.transport, self, context, server_side=True)
        if encrypted is None:
            raise EOFError
        self.transport, self._slow = encrypted, slow

    async def _do(self, deed: Deed) -> None:
        if deed is RESET:
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        elif deed is DEAF:
            self.transport.pause_reading()
            await self._over.wait()
        elif deed in {STALL, TAKE_AND_STALL}:
            await self._over.wait()
        elif deed is TAKE_AND_BABBLE:
            self.transport.write(b"certainly\r\n")

    async def _answer(self, phase: str, usual: str) -> str:
        """What is said in this phase."""
        act = await self._sink.next_act(phase, usual)
        if isinstance(act, Deed):
            raise _End(act)
        if act:
            self.say(act)
        return act

    def say(self, text: str) -> None:
        if "\r\n" in text:  # more than was asked for
            others, last = [], text
        else:
            *others, last = text.split("\n")
        lines = [f"{line[:3]}-{line[4:]}" for line in others] + [last]
        self.transport.write("".join(f"{line}\r\n" for line in lines).encode())

    async def _more(self) -> None:
        self._news.clear()
        if self._over.is_set():
            raise EOFError
        if self._slow:
            self.transport.resume_reading()
        await self._news.wait()

    async def _line(self) -> str:
        while b"\r\n" not in self._buffer:
            await self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        if self._buffer:
            self._sink.pipelined += 1
            if "PIPELINING" not in self._sink.extensions:
                self._sink.violations.append(f"something followed {line.decode()} at once")
        return line.decode()

    async def _command(self) -> bool:
        line = await self._line()
        self._sink.hear(line)
        verb, _, argument = line.partition(" ")
        match verb:
            case "EHLO":
                await self._ehlo()
            case "HELO":
                self.say("250 sink.example")
            case "STARTTLS":
                await self._start_tls()
            case "AUTH":
                await self._auth(argument)
            case "RSET":
                self._transaction = _Transaction()
                await self._answer("rset", "250 2.0.0 Ok")
            case "MAIL":
                await self._mail(argument)
            case "RCPT":
                await self._rcpt(argument)
            case "DATA":
                await self._data()
            case "QUIT":
                self.say("221 2.0.0 Bye")
            case _:
                self.say("500 5.5.2 what?")
        return verb != "QUIT"

    async def _ehlo(self) -> None:
        offers = list(self._sink.extensions)
        if self._sink.starttls and not self._encrypted:
            offers.append("STARTTLS")
        if self._sink.users and not any(offer.startswith("AUTH") for offer in offers):
            offers.append("AUTH PLAIN LOGIN")
        await self._answer("ehlo", "\n".join(f"250 {line}" for line in ["sink.example", *offers]))

    @property
    def _encrypted(self) -> bool:
        return self.transport.get_extra_info("ssl_object") is not None

    async def _start_tls(self) -> None:
        said = await self._answer("starttls", "220 2.0.0 go on")
        if said.startswith("220") and self._sink.starttls:
            await self._encrypt(self._sink.starttls)

    async def _auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        if mechanism == "PLAIN":
            _, user, password = base64.b64decode(initial).decode().split("\0")
        else:
            self.say("334 " + base64.b64encode(b"Username:").decode())
            user = base64.b64decode(await self._line()).decode()
            self.say("334 " + base64.b64encode(b"Password:").decode())
            password = base64.b64decode(await self._line()).decode()
        right = self._sink.users.get(user) == password
        await self._answer("auth", "235 2.7.0 Welcome" if right else "535 5.7.8 Who are you?")

    async def _mail(self, argument: str) -> None:
        if self._transaction.mail:
            self._sink.violations.append("MAIL in a transaction")
            self.say("503 5.5.1 nested MAIL")
        elif (await self._answer("mail", "250 2.1.0 Ok")).startswith("2"):
            self._transaction.mail = argument

    async def _rcpt(self, argument: str) -> None:
        usual = "250 2.1.5 Ok" if self._transaction.mail else "503 5.5.1 MAIL first"
        if (await self._answer("rcpt", usual)).startswith("2"):
            self._transaction.rcpt.append(argument)

    async def _data(self) -> None:
        usual = "354 go on" if self._transaction.rcpt else "554 5.5.1 no valid recipients"
        if not (await self._answer("data", usual)).startswith("3"):
            return
        self._buffer[:0] = b"\r\n"
        await self._more()
        if await self._answer("body", ""):
            raise _End(DROP)  # who answers before the end does not listen to the end
        data = await self._message()
        usual = f"250 2.0.0 Ok: queued as Q{len(self._sink.messages)}"
        act = await self._sink.next_act("dot", usual)
        if act in TAKING or (isinstance(act, str) and act.startswith("2")):
            self._take(data)
        self._transaction = _Transaction()
        if isinstance(act, Deed):
            raise _End(act)
        self.say(act)

    async def _message(self) -> bytes:
        end, searched = -1, 0
        while (end := self._buffer.find(b"\r\n.\r\n", searched)) < 0:
            searched = max(0, len(self._buffer) - 4)
            await self._more()
        data = bytes(self._buffer[:end])
        del self._buffer[: end + 5]
        return data

    def _take(self, data: bytes) -> None:
        if len(self._transaction.rcpt) != 1:
            self._sink.violations.append(f"a message to {self._transaction.rcpt}")
        lines = (data + b"\r\n").removeprefix(b"\r\n").split(b"\r\n")
        whole = b"\r\n".join(line.removeprefix(b".") for line in lines)
        self._sink.messages.append(Taken(self._transaction.mail, "".join(self._transaction.rcpt), whole))
