"""The server's processes: one, or several that share a socket, and the certificate that they show.

uvicorn does the work; here is what Cartwheel wants of it: a clear line when it cannot start, calls that are answered
before it stops, and a renewed certificate without a restart.
"""

import asyncio
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from cartwheel import config, observe
from cartwheel.app import Application
from cartwheel.config import LogLevel, Settings
from cartwheel.db import Database
from cartwheel.errors import BadSetting, CannotServe

log = logging.getLogger(__name__)

FACTORY = "cartwheel.app:from_environment"

LAST_ANSWERS_S = 60
"""How long the calls in flight may take when the server stops; a body that trickles in is given up before that."""

CHILDREN_S = 60
"""How long a process may take to start."""


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
    try:
        ran = database.migrate()
    finally:
        database.close()
    if ran:
        log.info("migrated: %s", ", ".join(ran))
    run = _run_several if several else run_alone
    run(running, listening, lambda: _tell_ready(settings, listening))


def listen(settings: Settings) -> socket.socket:
    """The socket, bound; nobody is accepted yet."""
    host = settings.host
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
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


def _tell_ready(settings: Settings, listening: socket.socket) -> None:
    where = url(settings, listening)
    log.info("Cartwheel listens on %s", where, extra={"fields": {"url": where, "processes": settings.processes}})


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
        http="httptools",
        ws="none",
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="info" if settings.log_level is LogLevel.DEBUG else "warning",
        timeout_graceful_shutdown=LAST_ANSWERS_S,
        ssl_context_factory=certificate,
    )


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
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        except OSError as error:
            raise BadSetting(f"CARTWHEEL_TLS_CERT and CARTWHEEL_TLS_KEY cannot be used: {error}") from error

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
                self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
                self._load(context)
            except OSError as error:
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
