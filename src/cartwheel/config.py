"""The settings: one row each, read from the environment. A secret may also come from a file, named by `NAME_FILE`."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

from cartwheel.bounces import boxurl
from cartwheel.bounces.boxurl import Box
from cartwheel.emails import EmailNotValid
from cartwheel.errors import BadSetting
from cartwheel.mail.smtpurl import Route, parse_routes
from cartwheel.network import Network, read_network
from cartwheel.readers import number, yes

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

PREFIX = "CARTWHEEL_"

DATABASES = ("sqlite:///", "postgresql://", "postgres://")
"""How the URLs of databases begin."""


class HttpsRule(StrEnum):
    """Whether plain http is refused: from everywhere but the own machine, always, or never."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class LogLevel(StrEnum):
    """From everything to next to nothing."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Row:
    """What there is to know about a setting beside its type."""

    default: str
    help: str
    read: Callable[[str], Any]
    secret: bool


def setting(default: str, help_: str, read: Callable[[str], T], *, secret: bool = False) -> T:
    """A row of the table below; its environment name is `CARTWHEEL_` and the field's name."""
    return field(metadata={"row": Row(default, help_, read, secret)})  # type: ignore[no-any-return] # as dataclasses do


def _choice(kind: type[E]) -> Callable[[str], E]:
    def read(text: str) -> E:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"has to be one of {', '.join(kind)}") from None

    return read


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(read_network(part) for part in text.split(",") if part.strip())


def _mail_servers(text: str) -> tuple[Route, ...] | None:
    if not text:
        return None
    if text == "mailbox:":
        return ()
    try:
        return parse_routes(text)
    except BadSetting as error:
        raise ValueError(str(error)) from None


def _bounce_box(text: str) -> Box | None:
    try:
        return boxurl.parse(text) if text else None
    except BadSetting as error:
        raise ValueError(f"cannot be read: {error}") from None


_BOUNCE_ADDRESS = re.compile(r"[a-z0-9._-]{1,11}@[a-z0-9-]+(\.[a-z0-9-]+)+")
"""With a longer name the mail's token would not fit behind it (`links.Signer.bounce_address`)."""


def _bounce_address(text: str) -> str:
    if text and not _BOUNCE_ADDRESS.fullmatch(text.lower()):
        raise ValueError("has to be an address like bounces@shop.example, with at most 11 letters before the @")
    return text.lower()


def _database(text: str) -> str:
    if not text.startswith(DATABASES) or text in DATABASES:
        raise ValueError("has to be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
    return text


def _public_url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise ValueError("has to look like https://cartwheel.example")
    return text if text.isascii() else _ascii_url(text)


def _ascii_url(url: str) -> str:
    """As it has to stand in the head of a mail, which not every server takes otherwise."""
    from cartwheel.mail.mime import ascii_domain  # noqa: PLC0415 - takes long, and few need it

    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    host, colon, port = place.partition(":")
    try:
        host = ascii_domain(host)
    except EmailNotValid:
        raise ValueError(f"names {host}, which cannot be a host") from None
    return f"{scheme}://{host}{colon}{port}{slash}{quote(path, safe='/%')}"


def _secrets(text: str) -> Mapping[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    secrets = {name.strip().lower(): secret.strip() for name, _, secret in pairs}
    if len(secrets) != len(pairs) or not all(name and secret for name, secret in secrets.items()):
        raise ValueError("has to look like `postmark=SECRET, sendgrid=KEY`, each name once")
    if not secrets:
        return secrets
    from cartwheel.bounces.providers import PROVIDERS  # noqa: PLC0415 - takes long, and few need it

    if unknown := secrets.keys() - PROVIDERS.keys():
        raise ValueError(f"no provider {min(unknown)}; there are {', '.join(PROVIDERS)}")
    return secrets


def _path(text: str) -> Path | None:
    if not text:
        return None
    if not Path(text).is_file():
        raise ValueError(f"there is no file {text}")
    return Path(text)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, read and checked."""

    database: str = setting(
        "sqlite:///cartwheel.db",
        "Where everything is kept: `sqlite:///file.db`, `sqlite:////absolute/file.db` or "
        "`postgresql://user:password@host:port/name`.",
        _database,
        secret=True,
    )
    host: str = setting("127.0.0.1", "The address to listen on.", str)
    port: int = setting("8080", "The port to listen on; 0 takes any free one.", number(0, 65535))
    processes: int = setting("1", "How many processes share the work. More than one needs PostgreSQL.", number(1, 64))
    worker: bool = setting(
        "yes", "Whether `serve` starts a worker, which sends: `no` where `cartwheel worker` runs elsewhere.", yes
    )
    public_url: str = setting(
        "", "The server's address as the world sees it, for links. Empty: as it listens.", _public_url
    )
    require_https: HttpsRule = setting(
        "auto",
        "Whether plain http is refused: `auto` (except from this machine), `always`, `never`.",
        _choice(HttpsRule),
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "",
        "Networks of the proxies in front, separated by commas; only their `X-Forwarded-For` and `X-Forwarded-Proto` "
        "count.",
        _networks,
    )
    tls_cert: Path | None = setting("", "A PEM file with the certificate chain, to speak https itself.", _path)
    tls_key: Path | None = setting("", "The PEM file with the certificate's private key.", _path)
    metrics_allow: tuple[Network, ...] = setting(
        "127.0.0.0/8,::1/128", "Networks that may read `/metrics`, separated by commas.", _networks
    )
    test_domain: str = setting(
        "test.invalid", "The mail domain that leads of test-mode Apps get instead of their own.", str.lower
    )
    smtp: tuple[Route, ...] | None = setting(
        "",
        "The mail server: `smtp://user:password@host:port`, `smtps://…`, several as `domain=smtp://…` with spaces between "
        "them; or `mailbox:`, which keeps everything in the built-in test mailbox. Empty: those that the page *Mail servers* "
        "has, and until then the test mailbox.",
        _mail_servers,
        secret=True,
    )
    bounce_address: str = setting(
        "",
        "Where bounces come back to, each to an address of its own: `bounces@shop.example` gets them at "
        "`bounces+TOKEN@shop.example`. Empty: they go to the sender.",
        _bounce_address,
    )
    bounce_mailbox: Box | None = setting(
        "",
        "The mailbox that bounces and complaints are read from, every minute: `imaps://user:password@host/INBOX`, or "
        "`imap://…` for STARTTLS; `?done=Processed` moves there what was read. Empty: none is read.",
        _bounce_box,
        secret=True,
    )
    bounce_hooks: Mapping[str, str] = setting(
        "",
        "Whose reports of bounces and complaints are heard at `/hooks/NAME`, with the secret of each: "
        "`postmark=SECRET, sendgrid=KEY`. Workers need it, too: their mails ask these providers to name them.",
        _secrets,
        secret=True,
    )
    allow_private_targets: bool = setting(
        "no",
        "Whether webhooks may call addresses of private networks and of this machine. Only where everybody who may "
        "set webhooks may also reach what listens there.",
        yes,
    )
    log_level: LogLevel = setting(
        "info", "`debug`, `info` (a line for every call), `warning`, `error`.", _choice(LogLevel)
    )
    max_body: int = setting("1048576", "The largest request body, in bytes.", number(1024, 1 << 30))
    max_depth: int = setting("8", "How deep a request may be nested.", number(4, 64))
    max_variables: int = setting("1000", "The most values in one request.", number(10, 1_000_000))
    max_actions: int = setting("100", "The most actions in one call.", number(1, 10_000))
    inspector_calls: int = setting(
        "300", "How many calls of each App the API inspector keeps, for seven days; 0: none.", number(0, 10_000)
    )
    queue: int = setting(
        "2000", "The most calls that wait at a time; one more is told to come again.", number(1, 1_000_000)
    )

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read every setting; raises `BadSetting`."""
        return cls(**{found.name: found.value for found in find(environment)})

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "CERT" if self.tls_cert is None else "KEY"
            raise BadSetting(f"CARTWHEEL_TLS_{missing}: CARTWHEEL_TLS_CERT and CARTWHEEL_TLS_KEY go together")


@dataclass(frozen=True, slots=True)
class Found:
    """A setting as it is in force."""

    name: str
    row: Row
    value: Any
    text: str
    source: str

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def shown(self) -> str:
        """The value for people's eyes: a password in a URL is not for them."""
        if not self.row.secret:
            return self.text
        text = re.sub(r"(://[^:/\s]*):.*@", r"\1:***@", self.text)
        text = re.sub(r"(?<=password=)[^&]+", "***", text)
        return text if "://" in text else re.sub(r"=[^,]+", "=***", text)


def rows() -> dict[str, Row]:
    """The table: every setting's row by its name."""
    return {entry.name: entry.metadata["row"] for entry in fields(Settings)}


def find(environment: Mapping[str, str] = os.environ) -> list[Found]:
    """Every setting with its source; raises `BadSetting`."""
    return [_find(name, row, environment) for name, row in rows().items()]


def unknown(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that look like settings and are none: most likely misspelt."""
    known = {PREFIX + name.upper() + suffix for name in rows() for suffix in ("", "_FILE")}
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)


def _find(name: str, row: Row, environment: Mapping[str, str]) -> Found:
    variable = PREFIX + name.upper()
    text, source = row.default, "default"
    if variable in environment:
        text, source = environment[variable], variable
    elif file := environment.get(f"{variable}_FILE"):
        try:
            text, source = Path(file).read_text().strip(), f"{variable}_FILE"
        except (OSError, UnicodeDecodeError) as error:
            raise BadSetting(f"{variable}_FILE: {file} cannot be read ({error})") from error
    try:
        return Found(name, row, row.read(text.strip()), text, source)
    except ValueError as error:
        raise BadSetting(f"{variable}: {error}") from error
