"""Builds the server from the settings, and speaks HTTP: a raw ASGI callable for the API, Starlette for everything else."""

import asyncio
import logging
import secrets
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.resources import files
from itertools import count
from types import FrameType
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as PageRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from cartwheel import times
from cartwheel.accounts import App
from cartwheel.api import wire
from cartwheel.api.bodies import Why
from cartwheel.api.dispatch import Answer, Dispatcher, Request
from cartwheel.api.gate import Gate
from cartwheel.api.recorder import Recorder
from cartwheel.api.registry import COMMANDS
from cartwheel.config import LogLevel, Settings
from cartwheel.data import mailstore
from cartwheel.data.checkpoints import Checkpointer
from cartwheel.data.db import Database
from cartwheel.data.ratelimits import app_limits
from cartwheel.data.signingkeys import link_signer
from cartwheel.errors import Unavailable
from cartwheel.network import Client, find_client, within
from cartwheel.process import collector, observe, orphans
from cartwheel.public.pages import Public
from cartwheel.reference import openapi
from cartwheel.rest.site import Rest
from cartwheel.ui.site import HEADERS, Site, for_https
from cartwheel.work.batches import Batches
from cartwheel.work.callcounts import CallCounts
from cartwheel.work.housekeeping import Housekeeping

log = logging.getLogger(__name__)

BODY_TIMEOUT_S = 30
"""How long a client may take to send a body."""

LAST_BYTES_S = 2
"""How long it may still take when the server has been told to stop."""

MOST_DISCARDED = 64 << 20
"""Bytes of a too large body that are read and thrown away, so that its sender gets to read why."""

READY_TIMEOUT_S = 3

CALLS_GO = "Calls go to POST /api (GET /api tells more)"


class Application:
    """The ASGI application. Its parts live from the lifespan's start to its end."""

    database: Database
    dispatcher: Dispatcher
    batches: Batches
    gate: Gate
    housekeeping: Housekeeping
    recorder: Recorder
    counts: CallCounts

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = times.now) -> None:
        self.settings = settings
        self._clock = clock
        self._call_log = (
            observe.LineLog("cartwheel.calls", "call")
            if settings.log_level in {LogLevel.DEBUG, LogLevel.INFO}
            else None
        )
        ours = secrets.token_hex(4)  # another application's calls, be it in this process, have other ids
        self._request_ids = (f"{ours}-{number:x}" for number in count(1))
        self._arriving: set[asyncio.Timeout] = set()
        self.public = Public(settings, clock)
        self.site = Site(settings, clock, self._client_of)
        self.rest = Rest(settings, clock, self._client_of, lambda: next(self._request_ids), self._note)
        routes = [
            Route("/api", self._help, methods=["GET"]),
            Route("/api/", self._help, methods=["GET"]),
            Route("/openapi.json", self._openapi, methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            *self.public.routes,
            *self.site.routes,
        ]
        astray = {HTTPException: self._astray, 500: self._failed}
        self._pages = Starlette(routes=routes, lifespan=self._lifespan, exception_handlers=astray)

    @asynccontextmanager
    async def _lifespan(self, _pages: Starlette) -> AsyncIterator[None]:
        database = self.database = Database(self.settings.database)
        await asyncio.to_thread(database.migrate)
        limits = app_limits(database)
        self.batches = Batches(database, clock=self._clock, most_waiting=self.settings.queue)
        self.gate = Gate(self.batches, limits, self.settings.require_https, clock=self._clock)
        self.counts = CallCounts(database, self.batches, self._clock)
        self.dispatcher = Dispatcher(self.settings, self.batches, self.gate, self.counts)
        most = self.settings.inspector_calls
        self.recorder = Recorder(database, lambda: self.batches.catalog, clock=self._clock, most=most)
        await self.batches.start()
        self.public.open(self.batches, database, await asyncio.to_thread(link_signer, database))
        self.site.open(self.batches, database, self.rehearse)
        self.rest.open(self.batches, database, self.gate, limits)
        checkpointer = Checkpointer(database.file) if database.file else None
        if checkpointer:
            checkpointer.start()
        worker = self.housekeeping = Housekeeping(database, self.batches, clock=self._clock)
        worker.start()
        self.recorder.start()
        self.counts.start()
        _when_told_to_stop(self._hurry)
        try:
            yield
        finally:
            await worker.stop()
            await self.counts.stop()
            await self.public.close()
            await self.batches.stop()
            if checkpointer:
                checkpointer.stop()
            await self.recorder.stop()
            await limits.close()
            self.gate.close()
            await asyncio.get_running_loop().shutdown_default_executor()  # who still reads holds a connection
            database.close()
            if self._call_log:
                self._call_log.flush()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = "/" + scope.get("path", "").lstrip("/")  # a base URL that ends in a slash makes //api
        if scope["type"] == "http" and scope["method"] == "POST" and (path == "/api" or path.startswith("/api/")):
            await self._call(scope, receive, send)
        elif scope["type"] == "http" and (path == "/v1" or path.startswith("/v1/")):
            await self.rest(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    # -- the API --

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S) as patience:
                self._arriving.add(patience)
                body = await _body(receive, self.settings.max_body)
        except TimeoutError:
            answer = self.dispatcher.refuse(Why.TOO_SLOW)
            await _send(send, answer, next(self._request_ids), close=True)
            return
        finally:
            self._arriving.discard(patience)
        if body is None:
            return
        started = time.perf_counter()
        client = self._client(scope, headers)
        request = Request(
            client=client,
            query=scope["query_string"],
            content_type=headers.get(b"content-type", b"").decode("latin-1").strip(),
            idempotency_key=_decoded(headers.get(b"idempotency-key")),
            body=body,
            content_encoding=headers.get(b"content-encoding", b"").decode("latin-1").strip().lower(),
        )
        answer = await self.dispatcher.answer(request)
        seconds = time.perf_counter() - started
        observe.CALL_SECONDS.observe(seconds)
        request_id = next(self._request_ids)
        if self._call_log:
            self._call_log.write(_log_fields(request_id, client, answer, len(body), seconds))
        self.recorder.note(request_id, request, answer, seconds)
        await _send(send, answer, request_id)

    async def rehearse(self, request: Request, app: App) -> str:
        """A call from our own pages, as an App in test mode would make it; returns its request id, for the inspector."""
        started = time.perf_counter()
        answer = await self.dispatcher.answer(request, app)
        request_id = next(self._request_ids)
        self.recorder.note(request_id, request, answer, time.perf_counter() - started, rehearsed=True)
        await self.recorder.flush()
        return request_id

    def _hurry(self) -> None:
        """Calls that have arrived are answered; those that never arrive do not hold up the end."""
        soon = asyncio.get_running_loop().time() + LAST_BYTES_S
        for patience in self._arriving:
            if not patience.expired():
                patience.reschedule(soon)

    def _note(self, fields: dict[str, object]) -> None:
        if self._call_log:
            self._call_log.write(fields)

    def _client_of(self, request: PageRequest) -> Client:
        return self._client(request.scope, _headers(request.scope))

    def _client(self, scope: Scope, headers: dict[bytes, bytes]) -> Client:
        peer = scope.get("client")
        return find_client(
            peer[0] if peer else "",
            tls=scope["scheme"] == "https",
            forwarded_for=headers.get(b"x-forwarded-for", b"").decode("latin-1"),
            forwarded_proto=headers.get(b"x-forwarded-proto", b"").decode("latin-1"),
            proxies=self.settings.trusted_proxies,
        )

    # -- pages --

    def _address(self, request: PageRequest) -> str:
        return self.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")

    async def _openapi(self, request: PageRequest) -> Response:
        return JSONResponse(openapi.document(self._address(request)))

    async def _help(self, request: PageRequest) -> Response:
        url = self._address(request)
        text = files("cartwheel").joinpath("help.txt").read_text()
        commands = "\n".join(f"    {entry.name:36}{entry.doc.splitlines()[0]}" for entry in COMMANDS.values())
        return PlainTextResponse(text.replace("{url}", url).replace("{commands}", commands))

    async def _astray(self, request: PageRequest, trouble: Exception) -> Response:
        """Whoever mistypes the address or the method is told where calls go; programs are told as the API tells it."""
        assert isinstance(trouble, HTTPException)
        headers = {**HEADERS, **for_https(self.settings), **(trouble.headers or {})}
        of_api = request.url.path.lower().startswith("/api")
        if of_api and "Allow" in headers:
            headers["Allow"] += ", POST"
        if of_api or "json" in request.headers.get("accept", ""):
            return JSONResponse(dict(wire.unreadable(CALLS_GO).fields), trouble.status_code, headers)
        return PlainTextResponse(f"{CALLS_GO}\n", trouble.status_code, headers)

    async def _failed(self, _request: PageRequest, _trouble: Exception) -> Response:
        """What went wrong stands in the log, and nowhere else."""
        told = "Something went wrong on the server. Please try again; if it stays so, its log says more.\n"
        return PlainTextResponse(told, 500, {**HEADERS, **for_https(self.settings)})

    async def _health(self, _request: PageRequest) -> Response:
        """200 as long as the database answers."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self.batches.refresh()
        except (Unavailable, TimeoutError) as trouble:
            log.warning("not ready: %s", trouble)
            return JSONResponse({"status": "unavailable"}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def _metrics(self, request: PageRequest) -> Response:
        client = self._client_of(request)
        if not within(client.address, self.settings.metrics_allow):
            return PlainTextResponse("Not from your address: see CARTWHEEL_METRICS_ALLOW\n", status_code=403)
        try:
            waiting = observe.BacklogMetrics(*await asyncio.to_thread(self._backlog)).as_text()
        except Unavailable as trouble:
            log.warning("metrics without what waits: %s", trouble)
            waiting = b""
        return Response(observe.metrics() + waiting, media_type=CONTENT_TYPE_LATEST)

    def _backlog(self) -> mailstore.Backlog:
        with self.database.read() as connection:
            return mailstore.backlog(connection, self._clock())


def from_environment() -> Application:
    """What each server process runs."""
    settings = Settings.load()
    observe.start_logging(settings.log_level)
    orphans.stop_with_parent()
    application = Application(settings)
    collector.calm()
    return application


def _when_told_to_stop(hurry: Callable[[], None]) -> None:
    """Call this beside what uvicorn does about SIGTERM and SIGINT. Only the main thread can be told."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()

    def chained(before: Any) -> Callable[[int, FrameType | None], None]:
        def told(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(hurry)
            if callable(before):
                before(number, frame)

        return told

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, chained(signal.getsignal(number)))


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """By lower-case name; several of one name are joined, as HTTP has it."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _log_fields(request_id: str, client: Client, answer: Answer, size: int, seconds: float) -> dict[str, object]:
    caller = answer.caller
    return {
        "request_id": request_id,
        "client": client.text,
        "account": caller.key.account_id if caller else None,
        "app": caller.app.origin if caller else None,
        "actions": [f"{command} {type_}".rstrip() for command, type_ in answer.told],
        "bytes": size,
        "ms": round(seconds * 1000, 2),
        "refused": answer.refused.type if answer.refused else None,
    }


def _decoded(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1").strip()


async def _body(receive: Receive, most: int) -> bytes | None:
    """The body, or of a too large one the first `most` + 1 bytes; None if the client went away."""
    chunks: list[bytes] = []
    size = 0
    while (message := await receive())["type"] == "http.request":
        if size <= most:
            chunks.append(message.get("body", b""))
        size += len(message.get("body", b""))
        if not message.get("more_body") or size > MOST_DISCARDED:
            return b"".join(chunks)[: most + 1]
    return None


async def _send(send: Send, answer: Answer, request_id: str, *, close: bool = False) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-request-id", request_id.encode()),
        *answer.limit_headers(),
        *([(b"connection", b"close")] if close else []),
    ]
    await send({"type": "http.response.start", "status": 429 if answer.too_many else 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
