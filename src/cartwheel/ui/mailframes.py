"""A mail as a mail program shows it, in a frame that may do nothing."""

import base64
import re
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import NamedTuple

from cartwheel.ui.visits import Download

_POLICY = (
    "default-src 'none'; img-src data: https: http:; style-src 'unsafe-inline'; font-src data: https:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'; sandbox"
)

_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Opener-Policy": "unsafe-none",
    "Referrer-Policy": "no-referrer",
}

_PIXEL = re.compile(r"""(src=["'])https?://[^"'\s]*/o/[A-Za-z0-9_-]+(["'])""")
"""The picture that tells that a mail was opened: who looks at it here did not open it."""

_INLINE = re.compile(r"""(["'(])cid:([^"')\s>]+)""")

MOST_PICTURE = 2_000_000

SHOWS = ("html", "text", "headers")


class File(NamedTuple):
    """An attachment; `place` is its number among them."""

    place: int
    name: str
    media_type: str
    size: int


def parse(raw: bytes) -> EmailMessage:
    parsed = BytesParser(policy=policy.default).parsebytes(raw)
    assert isinstance(parsed, EmailMessage)
    return parsed


def attachments(raw: bytes) -> Iterator[tuple[File, bytes]]:
    for place, part in enumerate(parse(raw).iter_attachments()):
        data = part.get_payload(decode=True)
        data = data if isinstance(data, bytes) else part.as_bytes()
        yield File(place, part.get_filename("") or f"part-{place + 1}", part.get_content_type(), len(data)), data


def frame(raw: bytes) -> Download:
    """The HTML part as a document of its own, without scripts, forms and what would tell that it was opened."""
    parsed = parse(raw)
    body = parsed.get_body(("html",))
    html = "" if body is None else str(body.get_content())
    html = _INLINE.sub(lambda found: found[1] + _picture(parsed, found[2]), _PIXEL.sub(r"\1data:,\2", html))
    return Download(html.encode("utf-8", "replace"), "text/html; charset=utf-8", _HEADERS)


def _picture(parsed: EmailMessage, inline_id: str) -> str:
    for part in parsed.walk():
        data = part.get_payload(decode=True) if part.get("Content-ID", "").strip("<> ") == inline_id else None
        if isinstance(data, bytes) and len(data) < MOST_PICTURE and part.get_content_maintype() == "image":
            return f"data:{part.get_content_type()};base64,{base64.b64encode(data).decode()}"
    return "data:,"


def as_file(data: bytes, name: str) -> Download:
    """To be saved, and never shown by the browser."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:100] or "file"
    return Download(data, "application/octet-stream", {"Content-Disposition": f'attachment; filename="{plain}"'})
