"""The mailbox that bounces come to, as a setting names it: `imaps://user:password@host/INBOX?done=Processed`. Pure."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from cartwheel.errors import BadSetting
from cartwheel.network import is_this_machine

_DEFAULT_PORTS = {"imap": 143, "imaps": 993}
_HOST = re.compile(r"[A-Za-z0-9_.:%-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OPTIONS = ("done", "verify")


@dataclass(frozen=True, kw_only=True)
class Box:
    """A mailbox: where it is, which folder is read, and where its mails go then."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    encrypted: bool
    """From the start; otherwise with STARTTLS, but for a server on this machine."""

    folder: str = "INBOX"
    done: str = ""
    """The folder for what has been read. Without one it stays where it is, marked as seen."""

    verify: bool = True
    """Whether the server's certificate has to be right."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.user}@{self.host}:{self.port}/{self.folder}"

    @property
    def is_here(self) -> bool:
        return is_this_machine(self.host)


def parse(url: str) -> Box:
    """The mailbox of a URL; raises `BadSetting`, which never quotes the URL, because there is a password in it."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadSetting("a mailbox's URL cannot be read: write /, @, : and # in a password as %2F, …") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise BadSetting("a mailbox is given as imaps://user:password@host/folder, or imap://… for STARTTLS")
    if not _HOST.fullmatch(host) or parts.fragment:
        raise BadSetting("a mailbox's URL has no host, or one that cannot be: write # in it as %23")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not user or not password:
        raise BadSetting("a mailbox's URL needs a user and a password")
    given = parse_qsl(parts.query, keep_blank_values=True)
    if any(name not in _OPTIONS for name, _ in given):
        raise BadSetting(f"a mailbox's URL has no such option; there are {', '.join(_OPTIONS)}")
    options = dict(given)
    if options.get("verify", "yes") not in {"yes", "no"}:
        raise BadSetting("a mailbox's option verify has to be yes or no")
    folder, done = unquote(parts.path.lstrip("/")) or "INBOX", options.get("done", "")
    if any(_CONTROL.search(text) for text in (user, password, folder, done)):
        raise BadSetting("a mailbox's URL has characters in it that cannot be sent")
    if folder == done:
        raise BadSetting("a mailbox's option done names the folder that is read: it has to be another")
    return Box(
        host=host,
        port=port or _DEFAULT_PORTS[parts.scheme],
        user=user,
        password=password,
        encrypted=parts.scheme == "imaps",
        folder=folder,
        done=done,
        verify=options.get("verify", "yes") == "yes",
    )
