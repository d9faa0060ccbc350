"""A mail that somebody sent us, taken apart: damaged, huge and malicious ones too, in bounded time. Pure."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, message_from_string
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import cached_property
from html import unescape
from itertools import islice

from cartwheel.bounces.reports import ADDRESS, one_line

MOST_BYTES = 256 << 10
"""What follows is not looked at: in a report, the parts for machines stand before the copy of the message."""

_MOST_LINES = 10_000
_LONGEST_LINE = 2_000
_LONGEST_FOLDED = 4_000
_MOST_BOUNDARIES = 20
_MOST_PARTS = 50
_MOST_TEXT = 32 << 10
_MOST_FIELDS = 50
_MOST_RETURN_PATHS = 10

_BOUNDARY = re.compile(rb"boundary[*\d\s]*=", re.IGNORECASE)


def _tamed(raw: bytes) -> bytes:
    """As much of a mail as the library's parser reads soon: long headers and deep nesting cost it quadratic time."""
    raw = raw[:MOST_BYTES].lstrip()
    deep = next(islice(_BOUNDARY.finditer(raw), _MOST_BOUNDARIES, None), None)
    kept: list[bytes] = []
    folded = 0
    for line in (raw[: deep.start()] if deep else raw).splitlines()[:_MOST_LINES]:
        folded = folded + len(line) if line[:1] in {b" ", b"\t"} else 0
        if folded <= _LONGEST_FOLDED:
            kept.append(line[:_LONGEST_LINE])
    return b"\n".join(kept)


def values(message: Message, *names: str) -> Iterator[str]:
    """What stands in fields of these names, in the order of the names; bytes beyond ASCII are taken for UTF-8."""
    for name in names:
        for found, value in message.raw_items():
            if found.lower() == name:
                yield " ".join(_utf8(str(value)).split())


def value(message: Message | None, *names: str) -> str:
    return next(values(message, *names), "") if message is not None else ""


def below(part: Message | None) -> list[Message]:
    payload = part.get_payload() if part is not None else None
    return [entry for entry in payload if isinstance(entry, Message)] if isinstance(payload, list) else []


def blocks(part: Message | None) -> list[Message]:
    """The groups of fields in a delivery status. The library knows the international form by its first group only."""
    found = below(part)[:_MOST_PARTS]
    rest = _text(found[0]) if len(found) == 1 else ""
    texts = re.split(r"\n[ \t]*\n", rest)[:_MOST_PARTS]
    return found + [message_from_string(text.lstrip()) for text in texts if text.strip()]


def _utf8(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _parts(mail: Message) -> Iterator[Message]:
    """The parts in their order, without looking into an enclosed message."""
    waiting = [mail]
    while waiting:
        part = waiting.pop()
        yield part
        if part.get_content_maintype() == "multipart":
            waiting += reversed(below(part))


_CHARSETS = re.compile(r"(iso-?8859|windows-?125|koi8|iso-?2022|euc|gb|big5|shift).{0,12}", re.IGNORECASE)
"""What a text may be labelled with to be read so; some of the library's other codecs take quadratic time."""

_TAG = re.compile(r"<(?:style|script)\b[^<]*</|<[^<>]*>", re.IGNORECASE)


def _text(part: Message) -> str:
    raw = part.get_payload(decode=True)
    raw = raw[:_MOST_TEXT] if isinstance(raw, bytes) else b""
    label = str(part.get_param("charset", ""))
    try:
        text = raw.decode(label if _CHARSETS.fullmatch(label) else "utf-8", "replace")
    except LookupError:
        text = raw.decode("utf-8", "replace")
    text = text.replace("\r", "")
    return unescape(_TAG.sub(" ", text)) if part.get_content_subtype() == "html" else text


_COPY = re.compile(
    r"^[ \t>]{0,20}-{2,80}.{0,40}(?:below this line|copy of the message|original message|returned message|header)|"
    r"^[ \t>]{0,20}(?:original message headers|the following is a copy)",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTED = re.compile(r"^[ \t>]{0,8}((?:message-id|to|return-path):.{1,900})$", re.IGNORECASE | re.MULTILINE)


class Mail:
    """A mail, and what is wanted of it. Some mails make the library raise what it likes."""

    def __init__(self, raw: bytes) -> None:
        self.head = message_from_bytes(_tamed(raw))
        self.parts = {part.get_content_type(): part for part in reversed(list(islice(_parts(self.head), _MOST_PARTS)))}
        """The first of each type."""

    @cached_property
    def subject(self) -> str:
        subject = value(self.head, "subject")[:_MOST_TEXT]
        try:
            pieces = decode_header(subject[:500])
            return one_line("".join(p if isinstance(p, str) else p.decode(c or "ascii", "replace") for p, c in pieces))
        except (HeaderParseError, LookupError, ValueError):
            return one_line(subject)

    @cached_property
    def text(self) -> str:
        """What it says to people."""
        part = self.parts.get("text/plain") or self.parts.get("text/html")
        return _text(part) if part is not None else ""

    @cached_property
    def told(self) -> str:
        """The text up to where a copy of the message begins."""
        return _COPY.split(self.text, maxsplit=1)[0]

    @cached_property
    def original(self) -> Message | None:
        """The head of the message that it is about: enclosed, or quoted in the text."""
        for name in ("message/rfc822", "message/global", "message/rfc822-headers", "message/global-headers"):
            if name in self.parts:
                return next(iter(below(self.parts[name])), None)
        if "text/rfc822-headers" in self.parts:
            return message_from_string(_text(self.parts["text/rfc822-headers"]))
        quoted = _QUOTED.findall(self.text)
        return message_from_string("\n".join(quoted)) if quoted else None

    @cached_property
    def return_paths(self) -> tuple[str, ...]:
        """Where it was sent, and where the message that it is about came from, as it was written."""
        sent_to = values(self.head, "x-original-to", "delivered-to", "envelope-to", "x-envelope-to", "to")
        written = [*islice(sent_to, _MOST_FIELDS), value(self.original, "return-path")]
        found = [address for text in written for address in ADDRESS.findall(text[:_LONGEST_LINE])]
        return tuple(islice(filter(str.isprintable, dict.fromkeys(found)), _MOST_RETURN_PATHS))

    @cached_property
    def at(self) -> datetime | None:
        try:
            at = parsedate_to_datetime(value(self.head, "date"))
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
