"""One API call, from its bytes to the words of its answer: read, let in, run its actions in one piece of work."""

import hashlib
import logging
import math
import re
from collections.abc import Sequence

import msgspec

from cartwheel.accounts import ApiKey, App, Mode
from cartwheel.api import wire
from cartwheel.api.bodies import Limits, Tree, Unreadable, Why, read_body, read_form
from cartwheel.api.calls import CallWork, Envelope
from cartwheel.api.gate import Caller, Gate, Insider, StaleCatalog, TooMany
from cartwheel.api.wire import Refused, Reply
from cartwheel.config import Settings
from cartwheel.emails import EmailNotValid
from cartwheel.errors import Overloaded, Unavailable
from cartwheel.network import Client
from cartwheel.process import observe
from cartwheel.work.batches import Batches, IdempotencyKey
from cartwheel.work.callcounts import CallCounts

log = logging.getLogger(__name__)


class Request(msgspec.Struct, frozen=True):
    """What a call consists of, without HTTP around it."""

    client: Client
    query: bytes
    content_type: str
    idempotency_key: str | None
    body: bytes
    content_encoding: str = ""


class Answer(msgspec.Struct, frozen=True):
    """An answer; `caller` is None when nobody was let in, `refused` the reply to a call that was refused as a whole."""

    body: bytes
    caller: Caller | None = None
    refused: Reply | None = None
    too_many: TooMany | None = None
    told: Sequence[tuple[str, str]] = ()
    failed: bool = False
    """Whether one of its actions did."""
    """What its actions were answered: (command, reply number)."""
    tree: Tree | None = None
    """The call as it was read; None if it could not be."""
    about: Sequence[int] = ()
    """The leads that were found."""

    def limit_headers(self) -> list[tuple[bytes, bytes]]:
        """Retry-After, and what is left of the App's calls (draft-ietf-httpapi-ratelimit-headers)."""
        if self.too_many is not None:
            wait_s = b"%d" % max(1, math.ceil(self.too_many.retry_s))
            return [(b"retry-after", wait_s), *limit_headers_of(self.too_many.limit, 0, wait_s)]
        if self.caller is not None and self.caller.allowance is not None:
            return limit_headers_of(self.caller.app.rate_limit, self.caller.allowance.left, b"1")
        return []


def limit_headers_of(limit: int, left: int, reset_s: bytes) -> list[tuple[bytes, bytes]]:
    """What is left of the calls of an App, or of a token."""
    if not limit:
        return []
    return [
        (b"ratelimit-policy", b'"app";q=%d;w=1' % limit),
        (b"ratelimit", b'"app";r=%d;t=%b' % (left, reset_s)),
    ]


class Dispatcher:
    """One for a process."""

    def __init__(self, settings: Settings, batches: Batches, gate: Gate, counts: CallCounts) -> None:
        self._counts = counts
        self._batches = batches
        self._gate = gate
        self._limits = Limits(settings.max_body, settings.max_depth, settings.max_variables)
        self._most_actions = settings.max_actions
        self._test_domain = settings.test_domain

    async def answer(self, request: Request, inside: App | None = None) -> Answer:
        """The answer to any call, however it is made: nothing is raised.

        With an App `inside`, which has to be in test mode, the call comes from our own pages: it is let in as it is.
        """
        caller, tree = None, None
        try:
            if inside is None:
                self._gate.check_secure(request.client)
            tree = self._read(request)
            while True:
                caller = await self._gate.admit(tree, request.client) if inside is None else self._insider(inside)
                try:
                    answer = await self._run(request, tree, caller)
                except StaleCatalog:
                    continue  # somebody changed the account at this very moment
                break
        except TooMany as refusal:
            return self._refuse(refusal.reply, caller, tree, refusal)
        except Refused as refusal:
            return self._refuse(refusal.reply, caller, tree)
        except Unreadable as trouble:
            return self._refuse(wire.unreadable(str(trouble)), caller, tree)
        except EmailNotValid:
            return self._refuse(wire.EMAIL_NOT_VALID, caller, tree)
        except Overloaded:
            return self._refuse(wire.SERVER_BUSY, caller, tree, TooMany(wire.SERVER_BUSY, 1))
        except Unavailable as trouble:
            log.warning("a call failed: %s", trouble)
            return self._refuse(wire.SERVER_ERROR, caller, tree)
        except Exception:
            log.exception("a call failed")
            return self._refuse(wire.SERVER_ERROR, caller, tree)
        for cmd, type_ in answer.told:
            observe.count(cmd, type_)
        self._counts.add(caller.key.account_id, failed=answer.failed)
        return answer

    async def _run(self, request: Request, tree: Tree, caller: Caller) -> Answer:
        """Raises `StaleCatalog` if the App's permissions or mode are not what the gate saw."""
        envelope = Envelope.read(tree, self._most_actions)
        try:
            work = CallWork(caller, envelope, _idempotency(request, caller), self._test_domain)
        except Refused as refusal:
            newest = await self._batches.refresh() if refusal.reply is wire.COMMAND_NOT_PERMITTED else None
            if newest is not None and newest.version != caller.version:
                raise StaleCatalog from refusal
            raise
        body = await self._batches.submit(work)
        return Answer(body, caller, told=work.told, failed=work.failed, tree=tree, about=work.about)

    def _insider(self, app: App) -> Caller:
        assert app.mode is Mode.TEST
        nobody = Client(None, secure=True)
        return Insider(app, ApiKey(app.account_id, "", ""), nobody, self._batches.catalog.version, None)

    def refuse(self, why: Why) -> Answer:
        """The answer to a request that did not even arrive."""
        return self._refuse(wire.unreadable(why), None, None)

    def _refuse(
        self, reply: Reply, caller: Caller | None, tree: Tree | None, too_many: TooMany | None = None
    ) -> Answer:
        observe.count("", reply.type)
        if caller is not None:
            self._counts.add(caller.key.account_id, failed=True)
        return Answer(msgspec.json.encode(reply.fields), caller, reply, too_many, tree=tree)

    def _read(self, request: Request) -> Tree:
        if len(request.body) > self._limits.body:
            raise Unreadable(Why.TOO_LARGE.format(max_body=self._limits.body))
        if request.content_encoding not in {"", "identity"}:
            raise Unreadable(Why.ENCODED)
        tree = read_body(request.body, request.content_type, self._limits)
        if request.query and not tree.keys() >= CREDENTIALS:
            in_query = read_form(request.query, self._limits)
            for name in CREDENTIALS:
                if name not in tree and name in in_query:
                    tree[name] = in_query[name]
        return tree


CREDENTIALS = frozenset({"app_id", "api_key", "api_password"})


def _idempotency(request: Request, caller: Caller) -> IdempotencyKey | None:
    key = request.idempotency_key
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise Refused(wire.IDEMPOTENCY_KEY_NOT_VALID)
    digest = hashlib.sha256(request.body).hexdigest()
    return IdempotencyKey(caller.key.account_id, caller.app.app_id, key, digest)


_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
