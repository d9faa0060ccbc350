"""HTTP around the operations of /v1: who calls, may they, what was sent; and every answer's shape."""

import asyncio
import hashlib
import inspect
import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cartwheel.accounts import Token
from cartwheel.api.dispatch import limit_headers_of
from cartwheel.api.gate import FAILURES_A_SECOND, FREE_FAILURES, Gate
from cartwheel.api.wire import Refused
from cartwheel.config import Settings
from cartwheel.data import tokenstore
from cartwheel.data.catalog import Catalog, key_digest
from cartwheel.data.db import Database
from cartwheel.data.ratelimits import AppLimits, Pace, Verdict
from cartwheel.errors import CartwheelError, Unavailable
from cartwheel.network import Client
from cartwheel.rest import problems
from cartwheel.rest.calls import CHALLENGE, Call, Decided, Replayed, encoded, recheck
from cartwheel.rest.problems import Refusal, refusal_of
from cartwheel.rest.table import OPERATIONS, Operation
from cartwheel.work.batches import Batches, IdempotencyKey

log = logging.getLogger(__name__)

BODY_TIMEOUT_S = 30
USED_EVERY = timedelta(minutes=5)
"""So often it is noted at most that a token was used."""

_KEY = re.compile(r"[\x21-\x7e]{1,200}")


class Answer(NamedTuple):
    """What is sent back, and for the log what it is the answer to."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}
    problem: str = ""


class Rest:
    """One for a process: an ASGI application for everything below /v1."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], datetime],
        client_of: Callable[[Request], Client],
        request_id: Callable[[], str],
        note: Callable[[dict[str, object]], None],
    ) -> None:
        self._most_body = settings.max_body
        self._clock = clock
        self._client_of = client_of
        self._request_id = request_id
        self._note = note
        self._failures = Pace()
        self._used: dict[tuple[int, int], datetime] = {}

    def open(self, batches: Batches, database: Database, gate: Gate, limits: AppLimits) -> None:
        self._batches = batches
        self._database = database
        self._gate = gate
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, request_id, started = Request(scope, receive), self._request_id(), time.perf_counter()
        about: dict[str, object] = {}
        try:
            answer = await self._answer(request, request_id, about)
        except ClientDisconnect:
            return
        headers = {"X-Request-Id": request_id, "Cache-Control": "no-store", **answer.headers}
        media_type = problems.MEDIA_TYPE if answer.problem else "application/json"
        self._note(
            {
                "request_id": request_id,
                "client": self._client_of(request).text,
                **about,
                "status": answer.status,
                "refused": answer.problem or None,
                "ms": round((time.perf_counter() - started) * 1000, 2),
            }
        )
        await Response(answer.body, answer.status, headers, media_type)(scope, receive, send)

    async def _answer(self, request: Request, request_id: str, about: dict[str, object]) -> Answer:
        """Nothing is raised but that the client is gone."""
        limits: dict[str, str] = {}
        try:
            return await self._run(request, request_id, about, limits)
        except ClientDisconnect:
            raise
        except (CartwheelError, ValueError) as error:
            refusal = refusal_of(error)
            if refusal is None:
                log.exception("a call of /v1 failed")
                refusal = Refusal(problems.FAILED)
            elif isinstance(error, Unavailable):
                log.warning("a call of /v1 failed: %s", error)
        except Exception:
            log.exception("a call of /v1 failed")
            refusal = Refusal(problems.FAILED)
        body = encoded(refusal.as_data(request_id))
        return Answer(refusal.problem.status.value, body, {**limits, **refusal.headers}, refusal.problem.name)

    async def _run(self, request: Request, request_id: str, about: dict[str, object], limits: dict[str, str]) -> Answer:
        operation, path = find(request.method, "/" + request.scope["path"].lstrip("/"))
        about["operation"] = operation.name
        known, token = await self._admit(request)
        about |= {"account": token.account_id, "token": token.origin}
        limits |= await self._spend(token)
        if operation.scope not in token.scopes:
            raise Refusal(
                problems.SCOPE_MISSING,
                f"{operation.name} needs the scope {operation.scope}: the token does not have it.",
            )
        sent = await self._read(request, operation)
        values = {**path, **_query(request, operation)}
        dry_run = bool(values.pop("dry_run", False))
        call = Call(
            account=known.accounts[token.account_id],
            token=token,
            catalog=known,
            now=self._clock(),
            status=operation.status,
            database=self._database,
            batches=self._batches,
            request_id=request_id,
            dry_run=dry_run,
            key=_idempotency(request, operation, token, sent),
        )
        await self._note_use(token)
        if operation.decoder is not None:
            values["body"] = _decoded(operation, sent)
        try:
            await asyncio.to_thread(call.look_back)
            if inspect.iscoroutinefunction(operation.run):
                record = await operation.run(call, **values)
            else:
                record = await asyncio.to_thread(operation.run, call, **values)
        except Replayed as before:
            return Answer(before.status, before.body, {**limits, "Idempotency-Replayed": "true"})
        except Decided as decided:
            record = decided.record
        told = {**limits, "Dry-Run": "true"} if dry_run else limits
        return Answer(call.status, encoded(record), told)

    # -- who --

    async def _admit(self, request: Request) -> tuple[Catalog, Token]:
        """The newest catalog, and whose call it is. Raises `Refusal`."""
        client, now = self._client_of(request), self._clock()
        try:
            self._gate.check_secure(client)
        except Refused:
            raise Refusal(problems.NOT_SECURE, "Come by https: the token could be read on its way.") from None
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        known = await self._batches.refresh()
        token = known.tokens.get(key_digest(secret.strip())) if kind.lower() == "bearer" else None
        if token is not None:
            recheck(known, token, now)
            return known, token
        turn = self._failures.take(client.prefix, now, rate=FAILURES_A_SECOND, burst=FREE_FAILURES)
        if not turn.allowed:
            wait_s = str(max(1, math.ceil(turn.wait_s)))
            raise Refusal(
                problems.TOO_MANY, "Too many calls without a token that is good.", headers={"Retry-After": wait_s}
            )
        told = "There is no such token." if kind else "Send a header `Authorization: Bearer` with a token."
        raise Refusal(problems.NO_TOKEN, told, headers=CHALLENGE)

    def forgive(self) -> None:
        """Whoever came without a good token begins anew."""
        self._failures = Pace()

    async def _spend(self, token: Token) -> dict[str, str]:
        """One of the token's calls; returns the headers that tell what is left. Raises `Refusal`."""
        if not token.rate_limit:
            return {}
        verdict: Verdict = await self._limits.take(token, self._clock())
        wait_s = str(max(1, math.ceil(verdict.wait_s)))
        told = limit_headers_of(token.rate_limit, verdict.left, wait_s.encode())
        headers = {name.decode(): value.decode() for name, value in told}
        if not verdict.allowed:
            detail = f"The token may make {token.rate_limit} calls a second."
            raise Refusal(problems.TOO_MANY, detail, headers={**headers, "Retry-After": wait_s})
        return headers

    async def _note_use(self, token: Token) -> None:
        key, now = (token.account_id, token.number), self._clock()
        last = self._used.get(key)
        if last is not None and last <= now < last + USED_EVERY:
            return
        self._used[key] = now

        def note() -> None:
            with self._database.write() as connection:
                tokenstore.note_use(connection, *key, now)

        await asyncio.to_thread(note)

    # -- what --

    async def _read(self, request: Request, operation: Operation) -> bytes:
        """The body of an operation that takes one. Raises `Refusal`."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if operation.body is not None and kind != "application/json" and not kind.endswith("+json"):
            raise Refusal(problems.NOT_JSON, f"Send `Content-Type: application/json`, not {kind or 'none'}.")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(problems.NOT_JSON, "The body must not be compressed.")
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > self._most_body:
                        told = f"The body may have {self._most_body:,} bytes."
                        raise Refusal(problems.TOO_LARGE, told, headers={"Connection": "close"})
                    chunks.append(chunk)
        except TimeoutError:
            told = f"The body has to arrive within {BODY_TIMEOUT_S} seconds."
            raise Refusal(problems.TOO_SLOW, told, headers={"Connection": "close"}) from None
        return b"".join(chunks)


_NULL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""What no text in a database may have."""


def _decoded(operation: Operation, sent: bytes) -> Any:
    """Raises `Refusal`."""
    assert operation.decoder is not None  # whoever takes no body does not ask
    if _NULL.search(sent):
        raise Refusal(problems.INVALID, "A text has the character U+0000 in it.")
    try:
        return operation.decoder.decode(sent)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `")
        place = path.rstrip("`").removeprefix("$").replace(".", "/").replace("[", "/").replace("]", "")
        raise Refusal(problems.INVALID, f"{text}{f' at {place}' if place else ''}.", places={place: text}) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refusal(problems.NOT_UNDERSTOOD, f"The body is no JSON: {error}.") from None


def find(method: str, path: str) -> tuple[Operation, dict[str, Any]]:
    """The operation, and what the path says. Raises `Refusal`."""
    matches = [(one, found) for one in OPERATIONS.values() if (found := one.pattern.fullmatch(path))]
    literal = [pair for pair in matches if not pair[1].groupdict()]
    matches = literal or matches  # /v1/leads/bulk is no lead
    if not matches:
        raise Refusal(problems.NO_SUCH_PATH, f"There is nothing at {path[:200]}; /openapi.json lists what there is.")
    for operation, found in matches:
        if operation.method == method:
            texts = found.groupdict()
            if any("\0" in text for text in texts.values()):
                raise Refusal(problems.NO_SUCH_PATH)
            return operation, {name: operation.params[name].read(text) for name, text in texts.items()}
    allow = ", ".join(sorted(one.method for one, _ in matches))
    raise Refusal(problems.METHOD_WRONG, f"{path[:200]} takes {allow}.", headers={"Allow": allow})


def _query(request: Request, operation: Operation) -> dict[str, Any]:
    """Raises `Refusal`."""
    try:
        pairs = parse_qsl(
            request.scope["query_string"].decode(), keep_blank_values=True, max_num_fields=50, errors="strict"
        )
    except ValueError as error:
        raise Refusal(problems.NOT_UNDERSTOOD, f"The query cannot be read: {error}.") from None
    values: dict[str, Any] = {}
    for name, text in pairs:
        param = operation.params.get(name)
        if name == "dry_run" and operation.writes:
            if text not in {"true", "false"}:
                raise Refusal(problems.INVALID, "`dry_run` is true or false.", places={"?dry_run": "true or false"})
            values[name] = text == "true"
            continue
        if param is None or param.in_path:
            there = ", ".join(one.name for one in operation.params.values() if not one.in_path) or "none"
            told = f"{operation.name} takes no `{name[:100]}` in the query; it takes: {there}."
            raise Refusal(problems.INVALID, told, places={f"?{name[:100]}": "unknown"})
        if name in values or "\0" in text:
            raise Refusal(problems.INVALID, f"`{name}` is given twice, or has the character U+0000.")
        values[name] = param.read(text)
    return values


def _idempotency(request: Request, operation: Operation, token: Token, sent: bytes) -> IdempotencyKey | None:
    """Raises `Refusal`."""
    key = request.headers.get("idempotency-key")
    if key is None or not operation.writes:
        return None
    if not _KEY.fullmatch(key):
        raise Refusal(problems.INVALID, "An Idempotency-Key has 1 to 200 visible ASCII characters.")
    whole = json.dumps([request.method, request.scope["path"], request.url.query]).encode() + b"\n" + sent
    return IdempotencyKey(token.account_id, token.origin, key, hashlib.sha256(whole).hexdigest())
