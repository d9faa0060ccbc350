"""One connection to a mail server: what is said on it, in which order, and how far it came.

One message at a time is under way on a connection, and each reply belongs to the oldest command without one. So it is
always known what the server has been told, and whether it can have taken the message: only after its final dot.
"""

import asyncio
import re
import socket
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import cast

from cartwheel.mail.outgoing import Outgoing, Refused, envelope
from cartwheel.mail.replies import SERVICE_ENDS, Fate, Outcome, Phase, Reply, broken_off, classify
from cartwheel.mail.smtpurl import Server, Tls

MOST_REPLY_BYTES = 16_384
MOST_REPLIES_AHEAD = 16
PIECE_BYTES = 65_536
GOODBYE_S = 2.0
"""How long a server may take to say goodbye."""

_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)

_NUL = "\0"

_WANTED = {
    Phase.GREETING: 2,
    Phase.HELLO: 2,
    Phase.STARTTLS: 2,
    Phase.RESET: 2,
    Phase.MAIL: 2,
    Phase.RCPT: 2,
    Phase.DATA: 3,
}
"""The first digit of the reply with which it goes on."""

TOO_MANY_RECIPIENTS = "4.5.3"
"""Some servers count them over a connection."""


class BrokenOff(Exception):
    """The connection ended, or is of no use any more."""


class TurnedAway(Exception):
    """The server does not let us in."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome


class Line(asyncio.Protocol):
    """What the server says becomes replies, in order; what we say is known to have left this process, or not."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self.gone = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._heard = b""
        self._texts: list[str] = []
        self._length = 0
        self._lost = ""
        self.full = False
        """Something of what was written is still in this process."""
        self._leaving: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by name
        self.transport.set_write_buffer_limits(high=0)

    def encrypted(self, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(high=1, low=0)  # which for TLS is what 0 is without
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            if not self._lost:
                self._hear(line.rstrip(b"\r"))
        if len(self._heard) > MOST_REPLY_BYTES or len(self.replies) > MOST_REPLIES_AHEAD:
            self.fail("the server does not stop talking")
        if self._leaving:
            self.transport.abort()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._lost or (f"the connection was lost: {_reason(exc)}" if exc else "the server closed it")
        if self._leaving:
            self._leaving.cancel()
        self.gone.set()
        self._wake()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self._wake()

    def _hear(self, line: bytes) -> None:
        found = _REPLY_LINE.fullmatch(line)
        self._length += len(line)
        if found is None or self._length > MOST_REPLY_BYTES:
            self.fail("the server said what is no reply")
            return
        text = (found[3] or b"").decode(errors="replace")
        self._texts.append(text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text))
        if found[2] != b"-":
            self.replies.append(Reply(int(found[1]), "\n".join(self._texts)))
            self._texts.clear()
            self._length = 0

    def fail(self, why: str) -> None:
        self._lost = self._lost or why
        self.transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expire(self, timeout_s: float) -> None:
        self.fail(f"no answer within {timeout_s:g} s")

    @property
    def quiet(self) -> bool:
        """It stands, and the server has said nothing that it was not asked."""
        return not (self._lost or self.replies or self._texts or self._heard or self.transport.is_closing())

    def write(self, *data: bytes | memoryview) -> None:
        self.check()
        self.transport.writelines(data)

    def check(self) -> None:
        if self._lost or self.transport.is_closing():
            raise BrokenOff(self._lost or "the connection was lost")

    async def reply(self, timeout_s: float) -> Reply:
        while not self.replies:
            await self._event(timeout_s)
        return self.replies.popleft()

    async def written(self, timeout_s: float) -> None:
        """Wait until nothing of what was written is left in this process, or until the server says something."""
        while self.full and not self.replies:
            await self._event(timeout_s)

    async def _event(self, timeout_s: float) -> None:
        if self._lost:
            raise BrokenOff(self._lost)
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, self._expire, timeout_s)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def leave(self) -> None:
        """Say goodbye, and close when the server has done so too."""
        if self.transport.is_closing():
            return
        self.transport.write(b"QUIT\r\n")
        self._leaving = self._loop.call_later(GOODBYE_S, self.transport.abort)


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not right: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__


class Conversation:
    """From the greeting to the goodbye."""

    def __init__(self, server: Server, context: Callable[[], ssl.SSLContext]) -> None:
        self.sent = 0
        self.left_at = 0.0
        self.phase = Phase.CONNECT
        self._server = server
        self._context = context
        self._line: Line | None = None
        self._extensions: dict[str, str] = {}
        self._reset_due = False

    @property
    def line(self) -> Line:
        assert self._line is not None
        return self._line

    @property
    def usable(self) -> bool:
        return self._line is not None and self._line.quiet

    def was_stale(self, outcome: Outcome) -> bool:
        """It ended before the server said a word about the message."""
        return outcome.fate is Fate.LATER and outcome.phase in {Phase.RESET, Phase.MAIL} and not self.usable

    def abandon(self) -> None:
        if self._line is not None:
            self._line.transport.abort()

    # -- the opening --

    async def open(self) -> Outcome | None:
        """Be let in; else what hindered it."""
        try:
            await self._connect()
            await self._ask(Phase.GREETING, "")
            await self._greet()
            await self._log_in()
        except TurnedAway as trouble:
            self.abandon()
            return trouble.outcome
        except BrokenOff as trouble:
            self.abandon()
            return broken_off(self.phase, str(trouble))
        except BaseException:
            self.abandon()
            raise
        return None

    async def _connect(self) -> None:
        server, loop = self._server, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(server.connect_timeout):
                _, self._line = await loop.create_connection(Line, server.host, server.port)
                if server.tls is Tls.FROM_THE_START:
                    await self._encrypt()
        except OSError as error:
            raise BrokenOff(_reason(error)) from error

    async def _encrypt(self) -> None:
        line, loop = self.line, asyncio.get_running_loop()
        transport = await loop.start_tls(line.transport, line, self._context(), server_hostname=self._server.host)
        if transport is None:
            raise BrokenOff("the connection was lost")
        line.encrypted(transport)

    async def _greet(self) -> None:
        await self._hello()
        tls = self._server.tls
        if tls is Tls.REQUIRED or (tls is Tls.AUTO and "STARTTLS" in self._extensions):
            await self._start_tls()
            await self._hello()

    async def _hello(self) -> None:
        """What the server offers; an old one that does not know the question offers nothing."""
        name = self._server.ehlo or own_name(self.line.transport.get_extra_info("sockname")[0])
        reply = await self._say(Phase.HELLO, f"EHLO {name}")
        if reply.code in {500, 502}:
            reply = await self._say(Phase.HELLO, f"HELO {name}")
        if reply.code // 100 != _WANTED[Phase.HELLO]:
            raise TurnedAway(classify(Phase.HELLO, reply))
        offers = (line.replace("=", " ", 1).upper().partition(" ") for line in reply.text.split("\n")[1:])
        self._extensions = {name: parameters.strip() for name, _, parameters in offers}

    async def _start_tls(self) -> None:
        if "STARTTLS" not in self._extensions:
            self.phase = Phase.STARTTLS
            raise BrokenOff("the server does not offer it; tls=off would do without")
        await self._ask(Phase.STARTTLS, "STARTTLS")
        if not self.line.quiet:
            raise BrokenOff("the server went on talking in the clear")
        try:
            async with asyncio.timeout(self._server.connect_timeout):
                await self._encrypt()
        except OSError as error:
            raise BrokenOff(_reason(error)) from error

    async def _log_in(self) -> None:
        user, password = self._server.user, self._server.password
        if not user:
            return
        self.phase = Phase.AUTH
        offered = self._extensions.get("AUTH", "").split()
        if "PLAIN" in offered:
            await self._ask(Phase.AUTH, f"AUTH PLAIN {_base64(f'{_NUL}{user}{_NUL}{password}')}")
        elif "LOGIN" in offered:
            for step, wanted in (("AUTH LOGIN", 3), (_base64(user), 3), (_base64(password), 2)):
                await self._ask(Phase.AUTH, step, wanted)
        else:
            raise BrokenOff("the server offers neither PLAIN nor LOGIN")

    async def _ask(self, phase: Phase, command: str, wanted: int = 2) -> None:
        reply = await self._say(phase, command)
        if reply.code // 100 != wanted:
            raise TurnedAway(classify(phase, reply))

    async def _say(self, phase: Phase, command: str) -> Reply:
        self.phase = phase
        if command:
            self.line.write(f"{command}\r\n".encode())
        return await self.line.reply(self._server.command_timeout)

    # -- messages --

    async def send(self, message: Outgoing, wire: bytes, on_final_dot: Callable[[], None] | None) -> Outcome:
        """Put the message, with its form on the wire, to the server."""
        self.phase = Phase.CHECK
        try:
            mail, rcpt = envelope(message, self._extensions)
        except Refused as refused:
            return refused.outcome
        self.sent += 1
        try:
            outcome = await self._envelope(mail, rcpt) or await self._body(wire, on_final_dot)
        except BrokenOff as trouble:
            self.abandon()
            return broken_off(self.phase, str(trouble))
        except BaseException:
            self.abandon()
            raise
        self._reset_due = outcome.fate is not Fate.ACCEPTED
        if outcome.code == SERVICE_ENDS or outcome.enhanced == TOO_MANY_RECIPIENTS or outcome.fate is Fate.IN_DOUBT:
            self.abandon()
        return outcome

    async def _envelope(self, mail: bytes, rcpt: bytes) -> Outcome | None:
        """None when the server wants the message now; else the first refusal."""
        commands = [(Phase.MAIL, mail), (Phase.RCPT, rcpt), (Phase.DATA, b"DATA\r\n")]
        if self._reset_due:
            commands.insert(0, (Phase.RESET, b"RSET\r\n"))
        at_once = "PIPELINING" in self._extensions
        self.phase = commands[0][0]
        if at_once:
            self.line.write(b"".join([command for _, command in commands]))
        refusal = None
        for phase, command in commands:
            try:
                self.phase = phase
                if not at_once:
                    self.line.write(command)
                reply = await self.line.reply(self._server.command_timeout)
            except BrokenOff:
                if refusal is None:
                    raise
                return refusal
            if reply.code // 100 != _WANTED[phase]:
                refusal = refusal or self._refusal(phase, reply)
            elif refusal is not None and phase is Phase.DATA:
                self.abandon()  # it waits for a message whose envelope it refused; there is no other way to send none
            if refusal is not None and not at_once:
                break
        return refusal

    def _refusal(self, phase: Phase, reply: Reply) -> Outcome:
        if phase is Phase.RESET:
            raise BrokenOff(f"the server would not start afresh: {reply.code} {reply.one_line}")
        return classify(phase, reply)

    async def _body(self, wire: bytes, on_final_dot: Callable[[], None] | None) -> Outcome:
        """As long as something waits in this process, the final dot does: it is the last of all."""
        self.phase = Phase.BODY
        line, timeout_s = self.line, self._server.command_timeout
        rest = memoryview(wire)
        while len(rest) > PIECE_BYTES and not line.replies:
            line.write(rest[:PIECE_BYTES])
            rest = rest[PIECE_BYTES:]
            await line.written(timeout_s)
        if not line.replies:
            line.check()
            if on_final_dot is not None:
                on_final_dot()
            line.write(rest, b".\r\n")
            await line.written(timeout_s)
            if not line.full:
                self.phase = Phase.DOT
                return classify(Phase.DOT, await line.reply(self._server.dot_timeout))
        self.abandon()  # it judges what it has not heard to the end
        return classify(Phase.BODY, line.replies.popleft())


def own_name(address: str) -> str:
    """What to greet with: this machine's name, if it is a full one, else the address it calls from (RFC 5321, 4.1.3)."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    ip = ip_address(address.partition("%")[0])
    return f"[IPv6:{ip}]" if isinstance(ip, IPv6Address) else f"[{ip}]"


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
