"""What the links in mails lead to: leaving, preferences, opens and clicks; and what providers report.

The link itself is the secret, so there is nothing to sign in to. Only POST changes something, because programs follow links.
"""

import asyncio
import base64
import hashlib
import logging
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property, partial
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from cartwheel.accounts import Account
from cartwheel.bounces.proofs import HookRefused
from cartwheel.bounces.providers import read_hook
from cartwheel.config import Settings
from cartwheel.data.db import Database
from cartwheel.errors import CartwheelError, LeadNotFound, Overloaded, Unavailable
from cartwheel.leads.leadparts import Part, SuppressionReason
from cartwheel.mail.links import Kind, MailId, Payload, Signer
from cartwheel.public import publicdata
from cartwheel.public.publicdata import public_name
from cartwheel.public.texts import Texts, isolated
from cartwheel.readers import digits
from cartwheel.sending.tracking import (
    Choice,
    ChoiceWork,
    FarewellWork,
    LeaveWork,
    Left,
    LookWork,
    RejoinWork,
    Tracker,
    TrackWork,
    has_left,
    is_in,
    record,
    said_never,
)
from cartwheel.times import from_micros, to_micros
from cartwheel.work.batches import Batches
from cartwheel.work.leadwork import BY_LEAD, EraseWork

log = logging.getLogger(__name__)

LARGEST_FORM = 256 << 10
BODY_TIMEOUT_S = 10
FETCH_TIMEOUT_S = 10
LARGEST_FETCHED = 1 << 20

MOST_RECORDED_AT_ONCE = 50
"""Reports of one call that wait together: calls to the API need room, too."""

_FOLDER = files("cartwheel").joinpath("public", "templates")
_STYLE = _FOLDER.joinpath("style.css").read_text()
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_TEXTS = Texts(_FOLDER)

_PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")

_UNCACHED = {"Cache-Control": "no-store, private", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
_PAGE = _UNCACHED | {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}

_STOP_PAGE = Part.SEQUENCES | Part.SUPPRESSION | Part.MAILS
_PROFILE_PAGE = Part.LISTS | Part.SEQUENCES | Part.SUPPRESSION | Part.MAILS

Form = Mapping[str, list[str]]
Handler = Callable[[Request], Awaitable[Response]]
Action = Callable[[MailId, Form], Awaitable[Response]]

_BUSY = 503


class NotValid(CartwheelError):
    """The link is none of ours."""


class Notice(NamedTuple):
    """What a page says about the last click on it."""

    text: str
    undo: Sequence[Left] = ()


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cartwheel", "public/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.globals |= {
        "style": Markup(_STYLE),  # noqa: S704 - our own file
        "texts": _TEXTS,
        "micros": to_micros,
    }
    return environment


class Public:
    """The routes. They work between `open` and `close`."""

    _batches: Batches
    _database: Database
    _signer: Signer
    tracker: Tracker

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._secrets = settings.bounce_hooks
        self._largest_report = settings.max_body
        self._clock = clock
        self._pages = _environment()
        self.routes = [
            Route("/u/{token}", self._told(self._unsubscribe), methods=["GET", "POST"]),
            Route("/p/{token}", self._told(self._preferences), methods=["GET", "POST"]),
            Route("/o/{token}", self._open, methods=["GET"]),
            Route("/c/{token}", self._told(self._click), methods=["GET"]),
            Route("/hooks/{provider}", self._hook, methods=["POST"]),
            Route("/hooks/{provider}/{secret:path}", self._hook, methods=["POST"]),
        ]

    @cached_property
    def _actions(self) -> Mapping[str, Action]:
        """What the buttons of the preferences do, by their value."""
        return {
            "save": self._save,
            "undo": self._take_back,
            "leave_all": self._leave_all,
            "never": partial(self._farewell, reason=SuppressionReason.DO_NOT_CONTACT, told="never_done"),
            "spam": partial(self._farewell, reason=SuppressionReason.COMPLAINT, told="spam_done"),
            "untrack": partial(self._track, on=False, told="untracked_done"),
            "track": partial(self._track, on=True, told="tracked_done"),
            "data": self._download,
            "delete": self._ask_to_erase,
            "erase": self._erase,
        }

    def open(self, batches: Batches, database: Database, signer: Signer) -> None:
        self._batches, self._database, self._signer = batches, database, signer
        self.tracker = Tracker(batches, database, self._clock)

    async def close(self) -> None:
        await self.tracker.finish()

    # -- opens and clicks --

    async def _open(self, request: Request) -> Response:
        payload = self._signer.read(request.path_params["token"])
        if payload is not None and payload.kind is Kind.OPEN and _counts(request):
            self.tracker.opened(payload.mail, _user_agent(request))
        return Response(_PIXEL, media_type="image/gif", headers=_UNCACHED)

    async def _click(self, request: Request) -> Response:
        target = request.query_params.get("to", "")
        payload = self._signer.read(request.path_params["token"], target)
        if (
            payload is None
            or payload.kind is not Kind.CLICK
            or urlsplit(target).scheme.lower() not in {"http", "https"}
        ):
            raise NotValid
        if _counts(request):
            self.tracker.clicked(payload.mail, payload.link, _user_agent(request))
        return RedirectResponse(target, 302, headers=_UNCACHED)

    # -- leaving --

    async def _unsubscribe(self, request: Request) -> Response:
        mail = await self._mail(request, Kind.UNSUBSCRIBE)
        if request.method != "POST":
            return await self._ask(mail)
        form = await _form(request)
        if "do" not in form:  # a mail program, which says List-Unsubscribe=One-Click in one way or another
            return await self._one_click(mail)
        if _first(form, "do") == "undo":
            return await self._undo(mail, _left(form))
        lead, left = await self._batches.submit(LeaveWork(mail))
        told = _TEXTS["stopped"]["told" if left else "told_all"]
        return self._message(
            "stopped",
            told=told.format(
                email=_masked(lead.email), sequence=self._sequence(mail, *(left.sequences if left else ()))
            ),
            account=self._account(mail),
            undo=left if left and left.at else None,
            preferences=self._preferences_link(mail),
        )

    async def _one_click(self, mail: MailId) -> Response:
        with suppress(LeadNotFound):
            await self._batches.submit(LeaveWork(mail))
        return PlainTextResponse("Unsubscribed\n", headers=_UNCACHED)

    async def _ask(self, mail: MailId) -> Response:
        lead = await self._batches.submit(LookWork(mail[:2], _STOP_PAGE))
        account = self._account(mail)
        if lead.deleted_at is not None:
            return self._message("deleted", account=account)
        known = lead.mails.get(mail.mail_id)
        told = {
            "email": _masked(lead.email),
            "account": isolated(account.name),
            "sequence": self._sequence(mail, known.sequence_id if known else None),
        }
        if said_never(lead) or (known and has_left(lead, known.sequence_id)):
            text = _TEXTS["stopped"]["told_all" if said_never(lead) else "told"].format(**told)
            return self._message("stopped", told=text, account=account, preferences=self._preferences_link(mail))
        return self._page(
            "stop.html",
            account=account,
            question=_TEXTS["stop"]["question" if known else "question_all"].format(**told),
            whom=_TEXTS["stop"]["whom"].format(email=_masked(lead.email)),
            preferences=self._preferences_link(mail),
        )

    async def _undo(self, mail: MailId, left: Left) -> Response:
        _, undone = await self._batches.submit(RejoinWork(mail[:2], left))
        texts = _TEXTS["undone"]
        told = texts["told"].format(sequence=self._sequence(mail, *left.sequences))
        return self._message(
            "undone",
            title=texts["title" if undone else "too_late_title"],
            told=told if undone else texts["too_late"],
            account=self._account(mail),
            preferences=self._preferences_link(mail),
        )

    # -- preferences --

    async def _preferences(self, request: Request) -> Response:
        mail = await self._mail(request, Kind.PREFERENCES)
        if request.method != "POST":
            return await self._profile(mail)
        form = await _form(request)
        action = self._actions.get(_first(form, "do"))
        return await (action(mail, form) if action else self._profile(mail))

    async def _save(self, mail: MailId, form: Form) -> Response:
        choice = Choice(*(_numbers(form, name) for name in ("shown_list", "list", "shown_sequence", "sequence")))
        lefts = await self._batches.submit(ChoiceWork(mail[:2], choice))
        told = _TEXTS["preferences"]["left"]
        gone = [Notice(told.format(sequence=self._sequence(mail, *left.sequences)), [left]) for left in lefts]
        return await self._profile(mail, Notice(_TEXTS["preferences"]["saved"]), *gone)

    async def _take_back(self, mail: MailId, form: Form) -> Response:
        left = _left(form)
        _, undone = await self._batches.submit(RejoinWork(mail[:2], left))
        several = left.lists or len(left.sequences) > 1
        told = _TEXTS["undone"][("told_all" if several else "told") if undone else "too_late"]
        return await self._profile(mail, Notice(told.format(sequence=self._sequence(mail, *left.sequences[:1]))))

    async def _leave_all(self, mail: MailId, _form: Form) -> Response:
        left = await self._batches.submit(FarewellWork(mail[:2], None))
        return await self._profile(mail, Notice(_TEXTS["preferences"]["left_all"], [left]))

    async def _farewell(self, mail: MailId, _form: Form, *, reason: SuppressionReason, told: str) -> Response:
        await self._batches.submit(FarewellWork(mail[:2], reason))
        return await self._profile(mail, Notice(_TEXTS["preferences"][told]))

    async def _track(self, mail: MailId, _form: Form, *, on: bool, told: str) -> Response:
        await self._batches.submit(TrackWork(mail[:2], on=on))
        return await self._profile(mail, Notice(_TEXTS["preferences"][told]))

    async def _ask_to_erase(self, mail: MailId, _form: Form) -> Response:
        lead = await self._batches.submit(LookWork(mail[:2], Part.NONE))
        account = self._account(mail)
        whom = _TEXTS["erase"]["whom"].format(account=isolated(account.name), email=_masked(lead.email))
        return self._page("erase.html", account=account, whom=whom, preferences=self._preferences_link(mail))

    async def _erase(self, mail: MailId, _form: Form) -> Response:
        await self._batches.submit(EraseWork(mail[:2], BY_LEAD))
        await asyncio.to_thread(publicdata.note_erasure, self._database, mail[:2], self._clock())
        account = self._account(mail)
        told = _TEXTS["erased"]["told"].format(account=isolated(account.name))
        return self._message("erased", told=told, account=account)

    async def _download(self, mail: MailId, _form: Form) -> Response:
        lead = await self._batches.submit(LookWork(mail[:2], Part.ALL | Part.SUPPRESSION))
        if lead.deleted_at is not None:
            return self._message("deleted", account=self._account(mail))
        data = await asyncio.to_thread(publicdata.as_json, self._database, lead, self._account(mail))
        headers = _UNCACHED | {"Content-Disposition": 'attachment; filename="my-data.json"'}
        return Response(data, media_type="application/json", headers=headers)

    async def _profile(self, mail: MailId, *notices: Notice) -> Response:
        lead = await self._batches.submit(LookWork(mail[:2], _PROFILE_PAGE))
        account = self._account(mail)
        if lead.deleted_at is not None:
            return self._message("deleted", account=account)
        whom = _TEXTS["preferences"]["state_never" if said_never(lead) else "whom"]
        lists = [
            {"id": entry.id, "name": public_name(entry), "on": lead.lists[entry.id].active}
            for entry in account.lists.values()
            if entry.id in lead.lists
        ]
        sequences = [
            {"id": entry.id, "name": public_name(entry), "on": True}
            for entry in account.sequences.values()
            if is_in(lead, entry.id)
        ]
        return self._page(
            "preferences.html",
            account=account,
            whom=whom.format(account=isolated(account.name), email=_masked(lead.email)),
            lists=lists,
            sequences=sequences,
            never=said_never(lead),
            complained=lead.suppression.reason == SuppressionReason.COMPLAINT,
            untracked=lead.untracked,
            notices=notices,
        )

    # -- reports of providers --

    async def _hook(self, request: Request) -> Response:
        provider = request.path_params["provider"]
        if provider not in self._secrets:
            return PlainTextResponse("CARTWHEEL_BOUNCE_HOOKS names no such provider\n", 404)
        try:
            body = await _body(request, self._largest_report)
            reports = await asyncio.to_thread(
                read_hook,
                provider,
                dict(request.headers),
                body,
                secret=self._secrets[provider],
                now=self._clock(),
                url_secret=request.path_params.get("secret", ""),
                fetch=_fetch,
            )
            record_one = partial(
                record, batches=self._batches, database=self._database, signer=self._signer, proved_at=self._clock()
            )
            for start in range(0, len(reports), MOST_RECORDED_AT_ONCE):
                await asyncio.gather(*map(record_one, reports[start : start + MOST_RECORDED_AT_ONCE]))
        except HookRefused as refusal:
            log.warning("a report of %s is refused: %s", provider, refusal)
            return PlainTextResponse(f"{refusal}\n", 403)
        except ClientDisconnect:
            return Response(status_code=400)
        except (Overloaded, Unavailable, OSError) as trouble:  # they come again
            log.warning("a report of %s has to come again: %s", provider, trouble)
            return PlainTextResponse("Please try again\n", _BUSY, headers={"Retry-After": "60"})
        return PlainTextResponse("Thank you\n")

    # -- what they share --

    def _told(self, handler: Handler) -> Handler:
        """The handler; what it raises is told to people."""

        async def endpoint(request: Request) -> Response:
            _TEXTS.speak(request.headers.get("accept-language", ""))
            try:
                return await handler(request)
            except NotValid:
                return self._message("invalid", status=404)
            except LeadNotFound:
                return self._message("deleted")
            except ClientDisconnect:
                return Response(status_code=400)
            except (Overloaded, Unavailable) as trouble:
                log.warning("a page has to wait: %s", trouble)
                return self._message("busy", status=_BUSY)

        return endpoint

    async def _mail(self, request: Request, kind: Kind) -> MailId:
        payload: Payload | None = self._signer.read(request.path_params["token"])
        if payload is None or payload.kind is not kind:
            raise NotValid
        if payload.mail.account_id not in self._batches.catalog.accounts:  # another process may have made it
            await self._batches.refresh()
        if payload.mail.account_id not in self._batches.catalog.accounts:
            raise NotValid
        return payload.mail

    def _account(self, mail: MailId) -> Account:
        return self._batches.catalog.accounts[mail.account_id]

    def _sequence(self, mail: MailId, sequence_id: int | None = None) -> str:
        found = self._account(mail).sequence_by_id.get(sequence_id or 0)
        return isolated(public_name(found)) if found else _TEXTS["common"]["some_sequence"]

    def _preferences_link(self, mail: MailId) -> str:
        return f"../p/{self._signer.token(Kind.PREFERENCES, mail)}"

    def _message(
        self,
        page: str,
        *,
        status: int = 200,
        title: str = "",
        told: str = "",
        account: Account | None = None,
        undo: Left | None = None,
        preferences: str = "",
    ) -> Response:
        texts = _TEXTS[page]
        return self._page(
            "message.html",
            status=status,
            title=title or texts["title"],
            told=told or texts["told"],
            account=account,
            undo=undo,
            preferences=preferences,
        )

    def _page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        text = self._pages.get_template(template).render(values)
        headers = _PAGE | ({"Retry-After": "60"} if status == _BUSY else {})
        return Response(text, status, media_type="text/html", headers=headers)


def _counts(request: Request) -> bool:
    """Who only looks at the head, or fetches ahead of somebody, has not opened anything."""
    purpose = request.headers.get("sec-purpose") or request.headers.get("purpose") or request.headers.get("x-moz", "")
    return request.method == "GET" and "prefetch" not in purpose.lower()


def _user_agent(request: Request) -> str:
    return request.headers.get("user-agent", "")


def _masked(email: str) -> str:
    """So that whoever gets a mail forwarded does not learn the address."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}***@{domain}"


async def _body(request: Request, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise HTTPException(413)
                chunks.append(chunk)
    except TimeoutError:
        raise HTTPException(408) from None
    return b"".join(chunks)


async def _form(request: Request) -> Form:
    """The fields of a form that one of the pages sent; empty for whatever else it is."""
    body = await _body(request, LARGEST_FORM)
    if not request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        return {}
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)


def _first(form: Form, name: str) -> str:
    return form.get(name, [""])[0]


def _numbers(form: Form, name: str) -> set[int]:
    return {number for number in map(digits, form.get(name, [])) if number is not None}


def _left(form: Form) -> Left:
    at = _numbers(form, "left")
    sequences, lists = (tuple(sorted(_numbers(form, name))) for name in ("sequence", "list"))
    try:
        return Left(from_micros(min(at)) if at else None, sequences, lists)
    except OverflowError:
        return Left(None, ())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        return None


def _fetch(url: str) -> bytes:
    """What `read_hook` asks for: it has made sure that the address is Amazon's."""
    with urllib.request.build_opener(_NoRedirect).open(url, timeout=FETCH_TIMEOUT_S) as answer:
        content: bytes = answer.read(LARGEST_FETCHED)
        return content
