"""The server's processes: one, or several that share a socket, and the certificate that they show.

uvicorn does the work; here is what Cartwheel wants of it: a clear line when it cannot start, connections that cannot
exhaust it, calls that are answered before it stops, and a renewed certificate without a restart.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import httptools
import msgspec
import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors import Multiprocess

from cartwheel import config, times
from cartwheel.api import wire
from cartwheel.api.wire import Reply
from cartwheel.app import Application
from cartwheel.config import LogLevel, Settings
from cartwheel.data import userstore
from cartwheel.data.db import Database
from cartwheel.errors import BadSetting, CannotServe, CartwheelError
from cartwheel.people import LinkKind
from cartwheel.process import observe
from cartwheel.worker import Child

log = logging.getLogger(__name__)

FACTORY = "cartwheel.app:from_environment"

LAST_ANSWERS_S = 60
"""How long the calls in flight may take when the server stops; a body that trickles in is given up before that."""

CHILDREN_S = 60
"""How long a process may take to start."""

MOST_CONNECTIONS = 2000
"""Open at a time in one process; one more is turned away."""

OTHER_FILES = 100
"""What a process may have open beside its connections: the database, the log, the program."""

HEAD_TIMEOUT_S = 65
"""How long a connection may be without a request, the arrival of whose head is part of that. Proxies and clients keep theirs
for a shorter time (nginx a minute, most libraries 5 s), so they end it, and no request meets one that is just being ended."""

MOST_HEAD = 64 << 10
"""Bytes of a head: its line and its headers, which are in memory until it is complete."""

LAST_WORDS_S = 2
"""How long a client has to read why its connection ends."""


def serve(settings: Settings) -> None:
    """Run until a signal comes. `settings` are those of the environment, from which each process reads them anew."""
    several = settings.processes > 1
    database = Database(settings.database)
    if several and database.name == "sqlite":
        raise BadSetting("CARTWHEEL_PROCESSES: more than one process needs PostgreSQL (SQLite has one writer)")
    running = uvicorn_config(settings, FACTORY)
    listening = listen(settings)
    observe.start_logging(settings.log_level)
    for name in config.unknown():
        log.warning("%s is no setting: see `cartwheel config`", name)
    if settings.smtp and not settings.public_url:
        log.warning("CARTWHEEL_PUBLIC_URL is not set: links in mails lead to %s", url(settings, listening))
    try:
        ran = database.migrate()
        setup = _setup_path(database)
    finally:
        database.close()
    if ran:
        log.info("migrated: %s", ", ".join(ran))
    run = _run_several if several else run_alone
    worker = Child(settings.public_url or url(settings, listening)) if settings.worker else None
    try:
        run(running, listening, lambda: _tell_ready(settings, listening, setup))
    finally:
        if worker is not None:
            worker.stop()
    log.info("Cartwheel stopped")


def listen(settings: Settings) -> socket.socket:
    """The socket, bound; nobody is accepted yet."""
    host = settings.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio looks there for TCP_NODELAY
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, settings.port))
    except OSError as error:
        listening.close()
        raise CannotServe(f"cannot listen on {host} port {settings.port}: {error.strerror or error}") from error
    return listening


def url(settings: Settings, listening: socket.socket) -> str:
    """Where the server listens."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{listening.getsockname()[1]}"


def _setup_path(database: Database) -> str:
    """Where the first person signs up, as long as there is nobody; each start makes a new link."""
    with database.write() as connection:
        if userstore.count(connection) > 0:
            return ""
        return f"/setup/{userstore.make_link(connection, LinkKind.SETUP, times.now())}"


def _tell_ready(settings: Settings, listening: socket.socket, setup: str) -> None:
    where = url(settings, listening)
    log.info("Cartwheel listens on %s", where, extra={"fields": {"url": where, "processes": settings.processes}})
    if setup:
        log.warning("nobody can sign in yet: open %s%s", settings.public_url.rstrip("/") or where, setup)


def uvicorn_config(settings: Settings, application: Application | str) -> uvicorn.Config:
    """How uvicorn runs the application, or what a factory of this name makes; raises `BadSetting`."""
    certificate = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        certificate = Certificate(settings.tls_cert, settings.tls_key)
        certificate.check()
    return uvicorn.Config(
        application,
        factory=isinstance(application, str),
        workers=settings.processes,
        loop="uvloop",
        http=Connection,
        limit_concurrency=_most_connections(),
        ws="none",
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="info" if settings.log_level is LogLevel.DEBUG else "warning",
        timeout_keep_alive=HEAD_TIMEOUT_S,
        timeout_graceful_shutdown=LAST_ANSWERS_S,
        ssl_context_factory=certificate,
    )


# -- connections --


def _most_connections() -> int:
    """`MOST_CONNECTIONS`, or as many as this process, and those that it starts, can get leave to open files for."""
    unlimited, wanted = resource.RLIM_INFINITY, MOST_CONNECTIONS + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    leave = wanted if hard == unlimited else hard
    if soft != unlimited and soft < leave:
        resource.setrlimit(resource.RLIMIT_NOFILE, (leave, hard))
    return max(1, min(wanted, leave) - OTHER_FILES)


def _last_words(status: bytes, reply: Reply, *headers: bytes) -> bytes:
    body = msgspec.json.encode(reply.fields)
    length = b"content-length: %d" % len(body)
    head = (b"HTTP/1.1 " + status, b"content-type: application/json", b"connection: close", length, *headers)
    return b"\r\n".join((*head, b"", body))


_NO_PLACE = _last_words(b"503 Service Unavailable", wire.SERVER_BUSY, b"retry-after: 1")
_HEAD_TOO_LARGE = _last_words(
    b"431 Request Header Fields Too Large", wire.unreadable(f"The head of the request is larger than {MOST_HEAD} bytes")
)


class _Parser:
    """httptools' parser, for which `Upgrade` is a header like those that it does not know (RFC 9110, section 7.8).

    Of itself it stops behind the head that has one, and takes the body for another protocol's. Such a head is read once
    more without it; the connection does not listen the first time.
    """

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._parser = self._new()

    def _new(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self._connection)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        return parser

    def feed_data(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while True:
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as stop:
                rest = rest[stop.args[0] :]
                head = self._head()
                self._parser = self._new()
                self._parser.feed_data(head)
            else:
                return

    def _head(self) -> bytes:
        """The head that was just read, without its `Upgrade`; raises `HttpParserError`."""
        method, version = self.get_method(), self.get_http_version().encode()
        if method == b"CONNECT":
            raise httptools.HttpParserError("there is nobody to be connected to")
        lines = [b"%b: %b" % header for header in self._connection.headers if header[0] != b"upgrade"]
        return b"\r\n".join([b"%b %b HTTP/%b" % (method, self._connection.url, version), *lines, b"", b""])

    def should_upgrade(self) -> bool:
        return self._parser.should_upgrade()

    def should_keep_alive(self) -> bool:
        return self._parser.should_keep_alive()

    def get_method(self) -> bytes:
        return self._parser.get_method()

    def get_http_version(self) -> str:
        return self._parser.get_http_version()


class _HeadTooLarge(CartwheelError):
    """Ends the parser's work."""


class Connection(HttpToolsProtocol):
    """Is turned away if it is one too many, and ended if the head of a request is too slow or too large."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.parser = _Parser(self)  # type: ignore[assignment] # it does all that is asked of one
        self._most = self.limit_concurrency
        self.limit_concurrency = None  # uvicorn would count as well, and keep those whom it refuses
        self._deadline: asyncio.TimerHandle | None = None
        self._head: object = None
        """The request whose head is incomplete, if one has begun."""
        self._head_size = 0
        """Bytes of it, without the piece that it began in, which may hold the end of another request."""
        self._first_piece = 0
        self._piece = 0
        """Bytes that are being read."""
        self._too_large = False
        self._answering: RequestResponseCycle | None = None
        """The request that is being answered; `cycle` is the newest, which may have to wait for its turn."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn does
        super().connection_made(transport)
        if self._most is None or len(self.connections) <= self._most:
            self._end_in(HEAD_TIMEOUT_S)
            if len(self.connections) == self._most:
                log.warning("there are %s connections: no more are taken", self._most)
        else:
            observe.TURNED_AWAY.inc()
            self._turn_away(_NO_PLACE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_live()
        self.pipeline.clear()
        if self._answering is not None:  # whoever answers would write to nobody
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        head, self._piece = self._head, len(data)
        super().data_received(data)
        if head is not None and head is self._head and not self.transport.is_closing():
            self._head_size += len(data)
            if self._head_size > MOST_HEAD:
                self._turn_away(_HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head, self._head_size, self._first_piece = self.scope, 0, self._piece

    def on_headers_complete(self) -> None:
        if self._first_piece + self._head_size + self._piece > MOST_HEAD and self._size_of_head() > MOST_HEAD:
            self._too_large = True
            raise _HeadTooLarge
        if self.parser.should_upgrade():
            return
        self._head = None
        self._let_live()
        super().on_headers_complete()

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():  # else the next head is there already
            self._end_in(HEAD_TIMEOUT_S)

    def send_400_response(self, msg: str) -> None:
        if self._too_large:
            self._turn_away(_HEAD_TOO_LARGE)
        else:
            super().send_400_response(msg)

    def _turn_away(self, words: bytes) -> None:
        self.transport.write(words)
        self.transport.close()
        self._end_in(LAST_WORDS_S)

    def _end_in(self, seconds: float) -> None:
        self._let_live()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _let_live(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


# -- one process --


class _Server(uvicorn.Server):
    """Tells when it accepts connections."""

    def __init__(self, settings: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(settings)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready()


def run_alone(settings: uvicorn.Config, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve in this process, until it gets SIGTERM or SIGINT; what is in flight then is answered."""
    server = _Server(settings, ready)

    def stop(_number: int, _frame: FrameType | None) -> None:
        """What a signal does before uvicorn listens to it, and when uvicorn has stopped and sends it again."""
        if not server.should_exit:
            raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # the terminal is closed; `nohup` has it ignored
        signal.signal(signal.SIGHUP, lambda _number, _frame: os.kill(os.getpid(), signal.SIGTERM))
    try:
        server.run(sockets=[listening])
    except SystemExit as end:
        if end.code == STARTUP_FAILURE:
            raise CannotServe("the server could not be started: see the log above") from end
        raise


# -- several processes --


class _Supervisor(Multiprocess):
    """Tells when all processes accept connections, and what ended badly."""

    def __init__(
        self, settings: uvicorn.Config, listening: socket.socket, ready: Callable[[], None], metrics: str
    ) -> None:
        super().__init__(settings, [listening])
        self._ready = ready
        self._metrics = metrics

    def init_processes(self) -> None:
        super().init_processes()
        if all(process.wait_until_ready(CHILDREN_S) for process in self.processes):
            self._ready()

    def keep_subprocess_alive(self) -> None:
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            log.error("process %s died and was replaced", pid)
            mark_process_dead(pid, self._metrics)  # type: ignore[no-untyped-call]


def _run_several(settings: uvicorn.Config, listening: socket.socket, ready: Callable[[], None]) -> None:
    with TemporaryDirectory(prefix="cartwheel-metrics-") as metrics:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        supervisor = _Supervisor(settings, listening, ready, metrics)
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise CannotServe("a process could not be started: see the log above")


# -- the certificate --


class Certificate:
    """The server's certificate, loaded anew when its files have changed. uvicorn calls it for the TLS context."""

    EVERY_S = 1.0

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = (cert, key)
        self._seen: object = None

    def check(self) -> None:
        """Raises `BadSetting` if a server could not use it."""
        cert, key = self._files
        for name, path in (("CERT", cert), ("KEY", key)):
            try:
                path.open("rb").close()
            except OSError as error:
                raise BadSetting(f"CARTWHEEL_TLS_{name}: {path} cannot be read ({error.strerror})") from error
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cert)
        except OSError as error:
            raise BadSetting(f"CARTWHEEL_TLS_CERT: {cert} is no certificate chain in PEM form") from error
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        except ssl.SSLError as error:
            reason = (error.reason or "").replace("_", " ").lower()
            why = f"does not go with the certificate ({reason})" if reason else "is no PEM key, or is encrypted"
            raise BadSetting(f"CARTWHEEL_TLS_KEY: {key} {why}") from error

    def __call__(self, _settings: uvicorn.Config, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._seen = self._stamps()
        self._load(context)
        self._look_again(context)
        return context

    def _look_again(self, context: ssl.SSLContext) -> None:
        asyncio.get_running_loop().call_later(self.EVERY_S, self._look, context)

    def _look(self, context: ssl.SSLContext) -> None:
        """Give new connections the certificate that is there now; one that does not work is not even tried on them."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps
            try:
                self.check()
                self._load(context)
            except (BadSetting, OSError) as error:
                log.error("the new certificate cannot be used, the old one stays: %s", error)  # noqa: TRY400 - a line
            else:
                log.info("the certificate was renewed")
        self._look_again(context)

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(*self._files, password=_no_password)

    def _stamps(self) -> list[Any]:
        return [_stamp(path) for path in self._files]


def _no_password() -> str:
    """Without this, OpenSSL would ask for an encrypted key's password on the terminal, and wait."""
    return ""


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)
