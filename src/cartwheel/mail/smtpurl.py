"""Mail servers as settings name them: `smtp://user:password@host:port?connections=10`, and who sends through which. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from cartwheel.errors import BadSetting
from cartwheel.network import is_this_machine
from cartwheel.readers import number, yes

T = TypeVar("T")

_DEFAULT_PORTS = {"smtp": 25, "smtps": 465}
_SUBMISSION_PORT = 587
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[A-Za-z0-9.:]+\]")
_HOST = re.compile(r"[A-Za-z0-9_.:%-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ROUTE = re.compile(r"(?:([^=:/?@]+)=)?(smtps?://.*)", re.IGNORECASE)


class Tls(StrEnum):
    """Whether what is said is encrypted."""

    OFF = "off"
    AUTO = "auto"
    """With STARTTLS if the server offers it."""
    REQUIRED = "required"
    """With STARTTLS, or not at all."""
    FROM_THE_START = "from the start"


def option(default: T, help_: str, read: Callable[[str], T]) -> T:
    """A row of the table below; its name in the URL is the field's."""
    return field(default=default, metadata={"help": help_, "read": read})


def _seconds(text: str) -> float:
    if re.fullmatch(r"\d{1,5}(\.\d{1,3})?", text, re.ASCII) and float(text):
        return float(text)
    raise ValueError("has to be a number of seconds")


def _tls(text: str) -> Tls:
    if text not in {Tls.OFF, Tls.AUTO, Tls.REQUIRED}:
        raise ValueError("has to be off, auto or required")
    return Tls(text)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("has to be a host name, or an address in brackets")
    return text


@dataclass(frozen=True, kw_only=True)
class Server:
    """A mail server and how to deal with it. From `tls` on, each field is an option of the URL."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    tls: Tls = option(Tls.AUTO, "STARTTLS: `off`, `auto` (if offered), `required`.", _tls)
    verify: bool = option(True, "Whether the server's certificate has to be right.", yes)
    ehlo: str = option("", "The name to greet with; this machine's, if it is a full one, else its address.", _name)
    connections: int = option(10, "How many connections are open at most.", number(1, 1000))
    messages: int = option(500, "How many messages one connection takes.", number(1, 1_000_000))
    idle: float = option(20.0, "Seconds after which an unused connection is closed.", _seconds)
    connect_timeout: float = option(30.0, "Seconds to wait for a connection, and for its encryption.", _seconds)
    command_timeout: float = option(120.0, "Seconds to wait for each answer, and for progress of a message.", _seconds)
    dot_timeout: float = option(600.0, "Seconds to wait for the answer to a whole message.", _seconds)
    per_second: int = option(0, "How many messages a second at most; 0 is without limit.", number(0, 100_000))
    per_hour: int = option(0, "How many messages in any hour.", number(0, 10_000_000))
    domain_per_second: int = option(0, "The same for each receiving domain.", number(0, 100_000))
    domain_per_hour: int = option(0, "The same for each receiving domain.", number(0, 10_000_000))

    @cached_property
    def name(self) -> str:
        """By which it is known: in limits, which belong to the account there, and to people."""
        place = f"{self.host}:{self.port}" if self.port else self.host
        return f"{self.user}@{place}" if self.user else place

    @cached_property
    def longest(self) -> timedelta:
        """How long one message can take, when every answer comes at the last moment."""
        return timedelta(seconds=2 * self.connect_timeout + _MOST_ANSWERS * self.command_timeout + self.dot_timeout)


_MOST_ANSWERS = 12
"""From the greeting to DATA, with encryption, log-in and RSET, and two waits for progress."""


def options() -> dict[str, Any]:
    """The URL's options: the metadata and default of each by its name."""
    return {entry.name: (entry.default, entry.metadata) for entry in fields(Server) if "read" in entry.metadata}


def parse(url: str) -> Server:
    """The server of a URL; raises `BadSetting`, which never quotes the URL, because there is a password in it."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadSetting("a mail server's URL cannot be read: write /, @, : and # in a password as %2F, …") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise BadSetting("a mail server is given as smtp://… or smtps://…")
    if parts.path not in {"", "/"} or parts.fragment:
        raise BadSetting("a mail server's URL has no path: write /, ? and # in a password as %2F, %3F and %23")
    if not _HOST.fullmatch(host):
        raise BadSetting("a mail server's URL has no host, or one that cannot be")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if _CONTROL.search(user + password) or bool(user) != bool(password):
        raise BadSetting("a mail server's URL has a user without a password, or characters that cannot be sent in them")
    given = _read_options(parts.query)
    if parts.scheme == "smtps":
        if "tls" in given:
            raise BadSetting("a mail server's option tls is for smtp://…; smtps://… is encrypted from the start")
        given["tls"] = Tls.FROM_THE_START
    given.setdefault("tls", _default_tls(host, has_password=bool(password)))
    usual = _SUBMISSION_PORT if user and parts.scheme == "smtp" else _DEFAULT_PORTS[parts.scheme]
    return Server(host=host, port=port or usual, user=user, password=password, **given)


def write(server: Server) -> str:
    """The URL that `parse` reads as this server, password and all."""
    scheme = "smtps" if server.tls is Tls.FROM_THE_START else "smtp"
    login = f"{quote(server.user, safe='')}:{quote(server.password, safe='')}@" if server.user else ""
    host = f"[{server.host}]" if ":" in server.host else server.host
    given = {
        name: getattr(server, name) for name, (default, _) in options().items() if getattr(server, name) != default
    }
    given.pop("tls", None)
    if server.tls is not Tls.FROM_THE_START:
        given["tls"] = server.tls
    texts = {name: ("yes" if value else "no") if isinstance(value, bool) else value for name, value in given.items()}
    return f"{scheme}://{login}{host}:{server.port}" + (f"?{urlencode(texts)}" if texts else "")


def _read_options(query: str) -> dict[str, Any]:
    known, given = options(), {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise BadSetting(f"a mail server's URL has no such option; there are {', '.join(known)}")
        try:
            given[name] = known[name][1]["read"](text)
        except ValueError as error:
            raise BadSetting(f"a mail server's option {name} {error}") from None
    return given


def _default_tls(host: str, *, has_password: bool) -> Tls:
    """A password crosses a network in the clear only for whom says so (`tls=off`)."""
    return Tls.REQUIRED if has_password and not is_this_machine(host) else Tls.AUTO


@dataclass(frozen=True)
class Route:
    """What senders of a domain send through: `shop.example`, `*.shop.example` for all below it, `*` for everybody."""

    domain: str
    server: Server

    def fits(self, domain: str) -> bool:
        return self.domain in {"*", domain} or (self.domain.startswith("*.") and domain.endswith(self.domain[1:]))


def parse_routes(text: str) -> tuple[Route, ...]:
    """`smtp://… shop.example=smtp://…`: the first that fits counts, and the one without a domain fits the rest."""
    routes = []
    for part in text.split():
        found = _ROUTE.fullmatch(part)
        if found is None:
            raise BadSetting("mail servers are given as smtp://… or domain=smtp://…, with spaces between them")
        routes.append(Route((found[1] or "*").lower(), parse(found[2])))
    if [route.domain for route in routes].count("*") != 1:
        raise BadSetting("of the mail servers exactly one has to be without a domain: it sends for all others")
    options_of: dict[str, Server] = {}
    for route in routes:
        if options_of.setdefault(route.server.name, route.server) != route.server:
            raise BadSetting(f"the mail server {route.server.name} is given twice, with different options")
    return tuple(sorted(routes, key=lambda route: route.domain == "*"))


def write_routes(routes: Sequence[Route]) -> str:
    """The text that `parse_routes` reads as these."""
    return " ".join(("" if route.domain == "*" else f"{route.domain}=") + write(route.server) for route in routes)
