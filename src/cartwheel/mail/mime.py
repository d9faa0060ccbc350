"""Writing mail: headers, quoted-printable, parts and their boundaries. Nothing here knows what a mail says.

A part is written ahead, as pieces of bytes with slots between them, and every piece and every value starts at the start
of a line and ends at the end of one. So values of any length can be put in without a look at what stands beside them.
"""

import hashlib
import re
from base64 import b64encode
from binascii import b2a_qp
from collections.abc import Iterable, Iterator, Sequence
from email import policy
from email.message import MIMEPart
from itertools import groupby
from mimetypes import MimeTypes

import msgspec
from email_validator import EmailNotValidError, validate_email

from cartwheel.emails import EmailNotValid
from cartwheel.mail.inert import one_line
from cartwheel.mail.merge import BadContent, clean_value
from cartwheel.mail.splice import Segment, Slot

Header = tuple[bytes, bytes]

# -- headers --

_LONGEST_LINE = 76
_LONGEST_NAME = 60
"""Of a sender or recipient, as plain words or in quotes."""
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_ENCODED_FRAME = len("=?utf-8?b??=")
_MAILBOX = re.compile(r"(?P<local>[^\s<>()\[\],;:\\\"@\x00-\x1f\x7f]+)@(?P<domain>[^\s<>()\[\],;:\\\"@\x00-\x1f\x7f]+)")
_BROKEN = re.compile(r"\0|\r(?!\n[ \t])|(?<!\r)\n")


def header_text(text: str, used: int) -> str:
    """A text as a header's value, folded, behind `used` characters on its first line; in RFC 2047's code if need be.

    A text that looks like that code is encoded too, so that it stays what it is.
    """
    text = one_line(clean_value(text)).strip()
    if text.isascii() and "=?" not in text:
        if used + len(text) <= _LONGEST_LINE:
            return text
        folded = _folded(text.split(" "), used)
        if folded:
            return folded
    return _encoded(text, used)


def _folded(words: list[str], used: int) -> str:
    """Empty if a word is too long or there are blanks side by side, for which only the code is exact."""
    lines, room = [""], _LONGEST_LINE - used
    for number, word in enumerate(words):
        if not word or len(word) >= _LONGEST_LINE:
            return ""
        if len(lines[-1]) + len(word) + 1 > room and number:
            lines.append("")
            room = _LONGEST_LINE - 1
        lines[-1] += f" {word}" if lines[-1] else word
    return "\r\n ".join(lines) if len(lines[0]) + used <= _LONGEST_LINE else ""


_CONTINUATIONS = frozenset(bytes([octet]) for octet in range(0x80, 0xC0))
"""The octets of UTF-8 that are within a character."""


def _encoded(text: str, used: int) -> str:
    octets = text.encode()
    words = []
    at, room = 0, _LONGEST_LINE - used
    while at < len(octets):
        end = at + (room - _ENCODED_FRAME) // 4 * 3
        while octets[end : end + 1] in _CONTINUATIONS:
            end -= 1
        words.append(f"=?utf-8?b?{b64encode(octets[at:end]).decode()}?=")
        at, room = end, _LONGEST_LINE - 1
    return "\r\n ".join(words)


def address(name: str, email: str) -> str:
    """The value of `From`, `To` and their kin: a name, and an address whose domain is written in ASCII.

    A local part beyond ASCII stays as it is (RFC 6532): such a mail needs a server that speaks SMTPUTF8.
    Raises `EmailNotValid`.
    """
    mailbox = _MAILBOX.fullmatch(email)
    if not mailbox:
        raise EmailNotValid
    domain = mailbox["domain"]
    spec = f"{mailbox['local']}@{ascii_domain(domain)}"
    name = " ".join(clean_value(name).split())
    if not name:
        return spec
    if not name.isascii() or "=?" in name or len(name) > _LONGEST_NAME:
        phrase = _encoded(name, len("Reply-To: "))
    elif _ATOMS.fullmatch(name):
        phrase = name
    else:
        phrase = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    room = _LONGEST_LINE - len("Reply-To: ") - len(" <>") - len(spec)
    gap = " " if len(phrase) - phrase.rfind("\n") <= room else "\r\n "
    return f"{phrase}{gap}<{spec}>"


def ascii_domain(domain: str) -> str:
    """As the DNS has it. Raises `EmailNotValid`."""
    if domain.isascii():
        return domain
    try:
        return validate_email(f"x@{domain}", check_deliverability=False, test_environment=True).ascii_domain
    except EmailNotValidError as error:
        raise EmailNotValid from error


def header(name: str, value: str) -> Header:
    if not value.isprintable() and _BROKEN.search(value):
        raise ValueError(f"The header {name} holds a line break")
    return name.encode(), value.encode()


# -- quoted-printable --

_LONGEST_PIECE = _LONGEST_LINE - 1


def quoted(text: str) -> bytes:
    """The text in quoted-printable, from the start of a line to its end: where it has none, a soft one is made.

    No line begins with a dot, which SMTP would double on its way, and some servers fail to halve.
    """
    if not text:
        return b""
    is_plain = text.isascii() and text.isprintable() and text[0] != "."
    if is_plain and len(text) <= _LONGEST_PIECE and "=" not in text:
        return f"{text}=\r\n".encode()
    encoded = b2a_qp(text.encode(), istext=True)
    if not encoded.endswith(b"\n"):
        if len(encoded) - encoded.rfind(b"\n") - 1 > _LONGEST_PIECE:
            encoded = encoded[:-1] + b"=\n" + encoded[-1:]  # a line that is too long by one ends with a plain letter
        encoded += b"=\n"
    if encoded.startswith(b".") or b"\n." in encoded:
        encoded = b"\n".join(map(_without_dot, encoded.split(b"\n")))
    return encoded.replace(b"\n", b"\r\n")


def _without_dot(line: bytes) -> bytes:
    """The same with its first dot in code; what has no room beside that comes on a line of its own."""
    if not line.startswith(b"."):
        return line
    if len(line) + 2 <= _LONGEST_LINE:
        return b"=2E" + line[1:]
    return b"=2E=\n" + _without_dot(line[1:])


# -- parts --


class Attachment(msgspec.Struct, frozen=True):
    """A file that comes with a mail; with an `inline_id`, a picture that its HTML shows as `cid:` and this id."""

    name: str
    media_type: str
    data: bytes
    inline_id: str = ""


class Entity(msgspec.Struct, frozen=True):
    """A part of a mail, or all of it: headers, and a body of bytes with slots in it."""

    headers: tuple[Header, ...]
    body: tuple[bytes | Slot, ...]

    def written(self) -> Iterable[bytes | Slot]:
        yield b"".join(b"%b: %b\r\n" % line for line in self.headers) + b"\r\n"
        yield from self.body


_MEDIA_TYPE = re.compile(r"(?!multipart/|message/)[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*", re.IGNORECASE)
_INLINE_ID = re.compile(r"[A-Za-z0-9._@-]*")
_UNSAFE_IN_A_NAME = re.compile(r'[/\\<>:"|?*\n\t]')


_ANYTHING = "application/octet-stream"
_KNOWN = MimeTypes()
"""The library's own table: what this machine knows beside it would make the same mail differ from one to another."""
_OFFICE = "application/vnd.openxmlformats-officedocument"
for _suffix, _type in {
    ".avif": "image/avif",
    ".docx": f"{_OFFICE}.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".ics": "text/calendar",
    ".pptx": f"{_OFFICE}.presentationml.presentation",
    ".webp": "image/webp",
    ".xlsx": f"{_OFFICE}.spreadsheetml.sheet",
}.items():
    _KNOWN.add_type(_type, _suffix)


def media_type_of(name: str) -> str:
    """By the ending of a file's name; nothing in particular where that does not tell."""
    found, packed = _KNOWN.guess_type(name)
    return found if found and not packed and _MEDIA_TYPE.fullmatch(found) else _ANYTHING


def text_entity(subtype: str, segments: Sequence[Segment]) -> Entity:
    """A text, with slots. Its last segment is a constant."""
    return Entity(
        (
            (b"Content-Type", b'text/%b; charset="utf-8"' % subtype.encode()),
            (b"Content-Transfer-Encoding", b"quoted-printable"),
        ),
        tuple(_pieces(segments)),
    )


def _pieces(segments: Sequence[Segment]) -> Iterator[bytes | Slot]:
    for is_text, run in groupby(segments, lambda segment: isinstance(segment, str)):
        if is_text:
            yield quoted("".join(segment for segment in run if isinstance(segment, str)))
        else:
            yield from (segment for segment in run if not isinstance(segment, str))


def file_entity(file: Attachment) -> Entity:
    name = _UNSAFE_IN_A_NAME.sub("_", clean_value(file.name)).strip()
    if not name:
        raise BadContent("An attachment has no name")
    if not _MEDIA_TYPE.fullmatch(file.media_type):
        raise BadContent(f'The attachment "{name}" has no usable media type: "{file.media_type}"')
    if not _INLINE_ID.fullmatch(file.inline_id):
        raise BadContent(f'The attachment "{name}" has an id with other characters than A-Z a-z 0-9 . _ - @')
    part = MIMEPart(policy.SMTP)
    main, _, sub = file.media_type.partition("/")
    inline = file.inline_id
    disposition, cid = ("inline", f"<{inline}>") if inline else ("attachment", None)
    part.set_content(file.data, main, sub, disposition=disposition, filename=name, cid=cid)
    written, _, body = part.as_bytes().partition(b"\r\n\r\n")
    headers = [line.split(b": ", 1) for line in re.split(rb"\r\n(?![ \t])", written)]
    return Entity(tuple((name, value) for name, value in headers), (body,))


def multipart(subtype: str, boundary: bytes, entities: Sequence[Entity]) -> Entity:
    """Several parts as one. No quoted-printable or base64 text holds a boundary that has `=_` in it."""
    body: list[bytes | Slot] = []
    for entity in entities:
        body += (b"--%b\r\n" % boundary, *entity.written(), b"\r\n")
    body.append(b"--%b--\r\n" % boundary)
    kind = b'multipart/%b;\r\n boundary="%b"' % (subtype.encode(), boundary)
    return Entity(((b"Content-Type", kind),), tuple(body))


def boundary_of(entities: Iterable[Entity]) -> bytes:
    """The same for the same content, so that the same mail is the same bytes."""
    digest = hashlib.sha256()
    for entity in entities:
        for piece in entity.written():
            digest.update(piece if isinstance(piece, bytes) else b"\0")
    return b"=_%b" % digest.hexdigest()[:32].encode()
