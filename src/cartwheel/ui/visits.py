"""One visit of a page: who came, what was sent, what the page may use, and how it answers."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import FormData, QueryParams, UploadFile

from cartwheel.accounts import Account, App
from cartwheel.api.dispatch import Request
from cartwheel.config import Settings
from cartwheel.data import userstore
from cartwheel.data.catalog import Catalog
from cartwheel.data.db import Database
from cartwheel.data.userstore import SignedIn
from cartwheel.people import RIGHTS, Right, Role, User
from cartwheel.readers import EXACT_DIGITS, digits
from cartwheel.ui.attempts import Attempts
from cartwheel.ui.dnscheck import Dns
from cartwheel.ui.remembered import Remembered
from cartwheel.ui.slots import Slots
from cartwheel.ui.translations import Language
from cartwheel.work.batches import Batches, Work

T = TypeVar("T")

SUBMIT_TIMEOUT_S = 30
MANY_TIMEOUT_S = 5
"""So long a page waits for work on many leads before it says that it goes on."""


@dataclass(frozen=True, slots=True)
class Undo:
    """A button that takes back what was just done: a POST of these fields."""

    path: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shown:
    """A page, or with `block` the part of it that htmx asked for."""

    template: str
    context: Mapping[str, Any]
    status: int = 200
    block: str = ""


@dataclass(frozen=True, slots=True)
class Redirect:
    """To another page, which says what was done."""

    path: str
    told: str = ""
    undo: Undo | None = None
    alarming: bool = False


@dataclass(frozen=True, slots=True)
class Download:
    """Anything that is no page."""

    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Streamed:
    """A download of any length, made while it is sent; who does not send it closes its parts."""

    parts: Iterator[bytes]
    media_type: str
    headers: Mapping[str, str]
    status: int = 200


Answer = Shown | Redirect | Download | Streamed


class NotThere(Exception):
    """The page's object is not in this account, or nowhere."""


@dataclass(slots=True)
class House:
    """What all visits share."""

    settings: Settings
    database: Database
    batches: Batches
    loop: asyncio.AbstractEventLoop
    clock: Callable[[], datetime]
    rehearse: Callable[[Request, App], Awaitable[str]]
    """Runs a call as an App in test mode; returns its request id."""
    attempts: Attempts = field(default_factory=Attempts)
    dns: Dns = field(default_factory=Dns)
    remembered: Remembered = field(default_factory=Remembered)
    slots: Slots = field(default_factory=Slots)
    exports: Slots = field(default_factory=Slots)
    """Exports that are under way: each reads from a connection of its own."""


@dataclass
class Visit:
    """`path` holds the values in the page's address, `query` and `form` what was sent."""

    house: House
    catalog: Catalog
    path: Mapping[str, Any]
    query: QueryParams
    form: FormData
    language: Language
    url: str
    """The page's path."""
    base_url: str
    address: str
    network: str
    """The address, or the customer's network that it is of: what failures are counted by."""
    agent: str
    htmx: bool
    signed_in: SignedIn | None = None
    subject: str = ""
    cookie: str | None = None
    """A new token for the browser's cookie; empty to forget it."""

    # -- who --

    @property
    def user(self) -> User:
        assert self.signed_in is not None, "only on pages that are not open"
        return self.signed_in.user

    @property
    def role(self) -> Role:
        assert self.signed_in is not None
        return self.signed_in.role

    @property
    def account(self) -> Account:
        """The account that the session is in."""
        assert self.signed_in is not None
        return self.catalog.accounts[self.signed_in.session.account_id]

    def other_accounts(self) -> dict[int, str]:
        """The names of the accounts where this person is a member, too."""
        with self.database.read() as connection:
            roles = userstore.roles_of(connection, self.user.id)
        known = self.catalog.accounts
        return {number: known[number].name for number in roles if number in known and number != self.account.id}

    def may(self, right: Right | str) -> bool:
        return self.signed_in is not None and Right(right) in RIGHTS[self.signed_in.role]

    # -- with what --

    @property
    def now(self) -> datetime:
        return self.house.clock()

    @property
    def database(self) -> Database:
        return self.house.database

    def submit(self, work: Work[T]) -> T:
        """Work on leads, through the batches like any other; raises what the work raises, `Overloaded`, `Unavailable`."""
        return asyncio.run_coroutine_threadsafe(self.house.batches.submit(work), self.house.loop).result(
            SUBMIT_TIMEOUT_S
        )

    def renew_catalog(self) -> Catalog:
        """The catalog with what was changed just now."""
        refreshed = asyncio.run_coroutine_threadsafe(self.house.batches.refresh(), self.house.loop)
        self.catalog = refreshed.result(SUBMIT_TIMEOUT_S)
        return self.catalog

    def rehearse(self, request: Request, app: App) -> str:
        """A call to the API as an App in test mode would make it; returns its request id, for the inspector."""

        async def run() -> str:
            return await self.house.rehearse(request, app)

        return asyncio.run_coroutine_threadsafe(run(), self.house.loop).result(SUBMIT_TIMEOUT_S)

    def go_through(self, many: Coroutine[Any, Any, T]) -> T | None:
        """Work on many leads, on the server's loop. None if it takes long: then it goes on behind the page's back."""
        try:
            return asyncio.run_coroutine_threadsafe(many, self.house.loop).result(MANY_TIMEOUT_S)
        except TimeoutError:
            return None

    def text(self, name: str, most: int = 1000) -> str:
        """What was sent under this name, trimmed and cut to `most` characters; empty if nothing was, or a file."""
        value = self.form.get(name, "")
        return "" if isinstance(value, UploadFile) else value.strip()[:most]

    def texts(self, name: str) -> list[str]:
        """All that was sent under this name: of check boxes, those that are checked."""
        return [value for value in self.form.getlist(name) if isinstance(value, str)]

    def number(self, name: str) -> int | None:
        """A whole number of at most 15 digits that was sent."""
        return digits(self.text(name), EXACT_DIGITS)

    def _(self, text: str) -> str:
        """The text in the visitor's language."""
        return self.language.gettext(text)

    def say(self, text: str) -> str:
        """What another part of Cartwheel says, in the visitor's language."""
        return self.language.say(text)

    def here(self, **changes: object) -> str:
        """The page's own address with other values in its query; None leaves one out."""
        query = {**self.query, **changes}
        kept = {name: value for name, value in query.items() if value is not None and value != ""}
        return self.url + ("?" + urlencode(kept) if kept else "")

    # -- the answer --

    def about(self, subject: str) -> None:
        """What the audit log says that something was done to."""
        self.subject = str(subject)

    def show(self, template: str, *, block: str = "", status: int = 200, **context: Any) -> Shown:
        return Shown(template, context, status, block)

    def refuse(self, template: str, errors: Mapping[str, str], **context: Any) -> Shown:
        """The form again, with what is wrong beside its fields. What was sent stands in them as it was."""
        return Shown(template, {**context, "errors": errors, "sent": self.form}, 422)

    def redirect(self, path: str, told: str = "", undo: Undo | None = None, *, alarming: bool = False) -> Redirect:
        return Redirect(path, told, undo, alarming)


def notice_of(redirect: Redirect) -> str:
    """What the next page shows, as the session keeps it."""
    undo = None if redirect.undo is None else {"path": redirect.undo.path, "fields": dict(redirect.undo.fields)}
    return json.dumps({"text": redirect.told, "undo": undo, "alarming": redirect.alarming})


def local_path(path: str) -> str:
    """A path of this site, for where to go after the sign-in; `/` for anything else."""
    try:
        parts = urlsplit(path)
    except ValueError:  # brackets that are no address
        return "/"
    local = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return path if local and "\\" not in path and path.isprintable() else "/"
