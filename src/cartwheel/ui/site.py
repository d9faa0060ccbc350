"""The pages' way through HTTP: who comes, whether they may, what the page answers, and the headers around it."""

import asyncio
import gzip
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import anyio.to_thread
from starlette.datastructures import FormData, QueryParams
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from cartwheel.accounts import App
from cartwheel.api.dispatch import Request as ApiRequest
from cartwheel.config import Settings
from cartwheel.data import userstore
from cartwheel.data.catalog import Catalog
from cartwheel.data.db import Database
from cartwheel.data.userstore import SEEN_EVERY_MICROS, SignedIn
from cartwheel.errors import CartwheelError, Overloaded, Unavailable
from cartwheel.network import Client
from cartwheel.people import RIGHTS, SESSION
from cartwheel.times import to_micros
from cartwheel.ui import forgery, pages, rendering
from cartwheel.ui.menu import MENU, Entry
from cartwheel.ui.registry import LARGEST_FORM, Page
from cartwheel.ui.streaming import Stream
from cartwheel.ui.translations import choose, languages
from cartwheel.ui.visits import Answer, Download, House, NotThere, Redirect, Shown, Streamed, Visit, notice_of
from cartwheel.work.batches import Batches

T = TypeVar("T")

log = logging.getLogger(__name__)

_COOKIE = "cartwheel"

MOST_FIELDS = 2000

_PACKED_FROM = 1000

_POLICY = (
    "default-src 'none'; script-src 'self'; {look}; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY.format(look="style-src 'self'; img-src 'self' data:"),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def for_https(settings: Settings) -> dict[str, str]:
    """Where all come by https, browsers need not try anything else."""
    known = settings.public_url.startswith("https://")
    return {"Strict-Transport-Security": f"max-age={365 * 24 * 3600}"} if known else {}


LOOSE_LOOK = {
    **HEADERS,
    "Content-Security-Policy": _POLICY.format(look="style-src 'self' 'unsafe-inline'; img-src 'self' data:"),
}
"""Of pages with an editor from a library that cannot draw without styles of its own."""


def cookie_name(url: str, *, secure: bool | None = None) -> str:
    """What the session's cookie is called on the pages of this address.

    Over https no other host of the domain can set it. Over http the port is in it: browsers send the cookies of one port
    to all others of a machine.
    """
    try:
        parts = urlsplit(url)
        scheme, port = parts.scheme, parts.port
    except ValueError:  # what somebody sends for a host
        scheme, port = "", None
    if scheme == "https" if secure is None else secure:
        return f"__Host-{_COOKIE}"
    return f"{_COOKIE}-{port}" if port else _COOKIE


class Site:
    """The routes. They work between `open` and `close`."""

    _house: House

    def __init__(self, settings: Settings, clock: Callable[[], datetime], client: Callable[[Request], Client]) -> None:
        self._settings = settings
        self._clock = clock
        self._client = client
        self._templates = rendering.environment()
        self._catalog = Catalog(-1, {}, {}, {})
        paths: dict[str, dict[str, Page]] = {}
        for (path, post), entry in pages.PAGES.items():
            paths.setdefault(path, {})["POST" if post else "GET"] = entry
        self.routes = [
            Route("/static/{name}", self._static, methods=["GET"]),
            *(Route(path, self._endpoint(entries), methods=list(entries)) for path, entries in paths.items()),
        ]

    def open(self, batches: Batches, database: Database, rehearse: Callable[[ApiRequest, App], Awaitable[str]]) -> None:
        self._house = House(self._settings, database, batches, asyncio.get_running_loop(), self._clock, rehearse)

    async def _static(self, request: Request) -> Response:
        return rendering.serve(request.path_params["name"], request.headers.get("accept-encoding", ""))

    def _endpoint(self, entries: Mapping[str, Page]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            entry = entries["GET" if request.method == "HEAD" else request.method]
            try:
                catalog = await self._house.batches.refresh()
                if entry.largest > LARGEST_FORM:
                    await anyio.to_thread.run_sync(self._admit, entry, request, catalog)
                form = await _form(request, entry) if entry.post else FormData()
                return await anyio.to_thread.run_sync(self._answer, entry, request, form, catalog)
            finally:
                await request.close()  # and the files that were sent

        return endpoint

    # -- one visit, on a thread --

    def _admit(self, entry: Page, request: Request, catalog: Catalog) -> None:
        """Large files are only read of people who may send them."""
        signed_in = self._signed_in(request.cookies.get(self._cookie_name(request), ""), catalog)
        if signed_in is None or (entry.right is not None and entry.right not in RIGHTS[signed_in.role]):
            raise HTTPException(403)

    def _answer(self, entry: Page, request: Request, form: FormData, catalog: Catalog) -> Response:
        cookie = request.cookies.get(self._cookie_name(request), "")
        signed_in = self._signed_in(cookie, catalog) if cookie else None
        visit = Visit(
            house=self._house,
            catalog=catalog,
            path=request.path_params,
            query=QueryParams(_without_nul(request.query_params.multi_items())),
            form=FormData(_without_nul(form.multi_items())),
            language=choose(_wanted(signed_in, request, form), request.headers.get("accept-language", "")),
            url=request.url.path,
            base_url=self._settings.public_url.rstrip("/") or str(request.base_url).rstrip("/"),
            address=self._client(request).text,
            network=self._client(request).prefix,
            agent=request.headers.get("user-agent", "")[:300],
            htmx="hx-request" in request.headers,
            signed_in=signed_in,
        )
        answer = self._do(entry, request, visit, cookie)
        return self._respond(entry, request, visit, answer, cookie)

    def _cookie_name(self, request: Request) -> str:
        return cookie_name(str(request.base_url), secure=self._client(request).secure)

    def _signed_in(self, cookie: str, catalog: Catalog) -> SignedIn | None:
        now = self._clock()
        with self._house.database.read() as connection:
            found = userstore.signed_in(connection, cookie, now)
        if found is None or found.session.account_id not in catalog.accounts:
            return None
        if to_micros(now) - to_micros(found.session.seen_at) > SEEN_EVERY_MICROS:
            with self._house.database.write() as connection:
                userstore.change_session(connection, found.session.digest, seen_at=to_micros(now))
        return found

    def _do(self, entry: Page, request: Request, visit: Visit, cookie: str) -> Answer:
        refused = self._refused(entry, request, visit, cookie)
        if refused is not None:
            return refused
        try:
            answer = entry.function(visit)
        except NotThere:
            return visit.show("not_there.html", status=404)
        except (Unavailable, Overloaded) as trouble:
            log.warning("a page has to wait: %s", trouble)
            return visit.show("trouble.html", status=503, told=visit._("The server is busy. Please try again."))
        except CartwheelError as refusal:
            return visit.show("trouble.html", status=422, told=str(refusal))
        if entry.post and not entry.quiet and _is_done(answer) and visit.signed_in is not None:
            with visit.database.write() as connection:
                account_id = visit.signed_in.session.account_id
                userstore.audit(connection, account_id, visit.now, visit.user, entry.does, visit.subject)
        return answer

    def _refused(self, entry: Page, request: Request, visit: Visit, cookie: str) -> Answer | None:
        """What stands in the way, if anything does."""
        if entry.post:
            headers = request.headers
            sent = headers.get(forgery.HEADER, "") or visit.text(forgery.FIELD)
            elsewhere = forgery.from_elsewhere(
                headers.get("sec-fetch-site", ""), headers.get("origin", ""), headers.get("host", "")
            )
            if elsewhere or not forgery.is_good(cookie, sent):
                told = visit._("This form was open for too long, or came from another page. Please try again.")
                return visit.show("trouble.html", status=403, told=told)
        if entry.open:
            return None if all(map(_is_storable, visit.path.values())) else visit.show("not_there.html", status=404)
        if visit.signed_in is None:
            there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return visit.redirect("/signin" if entry.post or there == "/" else f"/signin?next={quote(there)}")
        if entry.right is not None and entry.right not in RIGHTS[visit.role]:
            return visit.show("forbidden.html", status=403)
        if not all(map(_is_storable, visit.path.values())):
            return visit.show("not_there.html", status=404)
        return None

    # -- the answer --

    def _respond(self, entry: Page, request: Request, visit: Visit, answer: Answer, cookie: str) -> Response:
        response: Response
        keep = visit.cookie if visit.cookie is not None else cookie
        if isinstance(answer, Redirect):
            self._leave_notice(visit, answer)
            response = _redirected(visit, answer.path)
        elif isinstance(answer, Download):
            response = Response(answer.body, answer.status, {**HEADERS, **answer.headers}, answer.media_type)
        elif isinstance(answer, Streamed):
            response = Stream(answer.parts, answer.media_type, {**HEADERS, **answer.headers})
        else:
            if not keep:  # also who is not signed in needs one, for the forms
                keep = visit.cookie = userstore.new_token()
            response = self._page(request, visit, answer, keep)
            if entry.loose_look and answer.status == 200:  # noqa: PLR2004 - the page itself, and not what stands in its way
                response.headers.update(LOOSE_LOOK)
        response.headers.update(for_https(self._settings))
        if visit.cookie is not None:
            name, secure = self._cookie_name(request), self._client(request).secure
            if keep:
                most = int(SESSION.total_seconds())
                response.set_cookie(name, keep, max_age=most, secure=secure, httponly=True, samesite="lax")
            else:
                response.delete_cookie(name, secure=secure, httponly=True, samesite="lax")
        return response

    def _leave_notice(self, visit: Visit, redirect: Redirect) -> None:
        if redirect.told and visit.signed_in is not None:
            with visit.database.write() as connection:
                userstore.change_session(connection, visit.signed_in.session.digest, notice=notice_of(redirect))

    def _take_notice(self, visit: Visit) -> Any:
        if visit.signed_in is None or not visit.signed_in.notice or visit.htmx:
            return None
        with visit.database.write() as connection:
            userstore.change_session(connection, visit.signed_in.session.digest, notice="")
        return json.loads(visit.signed_in.notice)

    def _page(self, request: Request, visit: Visit, shown: Shown, cookie: str) -> Response:
        context = {
            "visit": visit,
            "user": visit.signed_in.user if visit.signed_in else None,
            "account": visit.account if visit.signed_in else None,
            "menu": [
                (group, entries)
                for group in MENU
                if (entries := [entry for entry in group.entries if _is_open(entry, visit)])
            ],
            "here": self._menu_entry(request),
            "csrf": forgery.token(cookie),
            "notice": self._take_notice(visit),
            "languages": languages(),
            "errors": {},
            "sent": {},
            **shown.context,
        }
        body = rendering.render(self._templates, shown.template, shown.block, context).encode()
        headers = dict(HEADERS)
        if len(body) >= _PACKED_FROM and "gzip" in request.headers.get("accept-encoding", ""):
            body = gzip.compress(body, 5)
            headers["Content-Encoding"] = "gzip"
        headers["Vary"] = "Accept-Encoding, Accept-Language, Cookie, HX-Request"
        return Response(body, shown.status, headers, "text/html")

    def _menu_entry(self, request: Request) -> str:
        route = request.scope.get("route")
        path = route.path if isinstance(route, Route) else ""
        entry = pages.PAGES.get((path, False)) or pages.PAGES.get((path, True))
        return entry.menu if entry else ""


def _without_nul(sent: Iterable[tuple[str, T]]) -> list[tuple[str, T]]:
    """What no database keeps in a text, and nobody types."""
    return [(_bare(name), _bare(value)) for name, value in sent]


def _bare(value: T) -> T:
    return value.replace("\0", "") if isinstance(value, str) else value  # type: ignore[return-value]


def _is_storable(value: object) -> bool:
    """Whether something in the database can have this for its key."""
    return "\0" not in value if isinstance(value, str) else not isinstance(value, int) or value < 1 << 63


def _wanted(signed_in: SignedIn | None, request: Request, form: FormData) -> str:
    """The code of the language that somebody has chosen, here or at the sign-in."""
    return signed_in.user.language if signed_in else request.query_params.get("lang", "") or str(form.get("lang", ""))


def _is_open(entry: Entry, visit: Visit) -> bool:
    return (entry.path, False) in pages.PAGES and visit.signed_in is not None and visit.may(entry.right)


def _is_done(answer: Answer) -> bool:
    """What is refused is not done: a form is shown again, or the next page says why not."""
    refused = answer.alarming if isinstance(answer, Redirect) else answer.status >= 400  # noqa: PLR2004 - HTTP's border
    return not refused


def _redirected(visit: Visit, path: str) -> Response:
    if visit.htmx:
        return PlainTextResponse("", headers={**HEADERS, "HX-Redirect": path})
    return RedirectResponse(path, 303, headers=HEADERS)


async def _form(request: Request, entry: Page) -> FormData:
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > entry.largest:
        raise HTTPException(413 if length.isdigit() else 411)
    try:
        return await request.form(max_files=20, max_fields=MOST_FIELDS, max_part_size=entry.largest)
    except MultiPartException as trouble:
        raise HTTPException(400, str(trouble)) from trouble
