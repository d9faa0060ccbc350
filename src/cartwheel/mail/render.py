"""How a mail comes to be: what a step says is compiled once, and then only what differs from lead to lead is put in.

`compile_mail` takes a step's `Content`:

1. merge fields are covered by words that no parser touches (`merge.Cover`);
2. MJML or Markdown becomes HTML, and CSS goes into the elements (`mailhtml`);
3. the text part is read off the HTML, unless the author wrote one (`plaintext`);
4. preview text, footer and a place for the open pixel come in, and both parts are taken apart into constants and slots;
   for each slot it is settled what makes a value inert there (`splice`, `inert`);
5. the constants are written in quoted-printable, with headers, attachments and boundaries around them (`mime`).

`CompiledMail.build` then writes the values of one lead, each on lines of its own, between the constants: a few
microseconds, and nothing is parsed. It knows no clock and makes no token: headers such as `Date`, the address of the open
pixel and what links are rewritten to come from the caller. The caller also signs and sends.
"""

import html
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

import msgspec

from cartwheel.mail.inert import one_line
from cartwheel.mail.mailhtml import Kind, document
from cartwheel.mail.merge import BadContent, Cover, Field, Template, clean_text, clean_value
from cartwheel.mail.mime import (
    Attachment,
    Entity,
    Header,
    boundary_of,
    file_entity,
    header,
    header_text,
    multipart,
    quoted,
    text_entity,
)
from cartwheel.mail.plaintext import as_text, seen
from cartwheel.mail.splice import HtmlReader, Rewrite, Segment, text_segments


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What the author of a mail wrote. An empty `text` is read off the HTML."""

    subject: str
    kind: Kind
    source: str
    preview: str = ""
    text: str = ""
    attachments: tuple[Attachment, ...] = ()


class Built(msgspec.Struct, frozen=True):
    """A mail as it goes out, ready to be signed."""

    headers: list[Header]
    pieces: list[bytes]
    """Its body. As all of it: every line ends with CRLF, and none begins with a dot."""

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def as_bytes(self) -> bytes:
        return b"".join([*(b"%b: %b\r\n" % line for line in self.headers), b"\r\n", *self.pieces])


class Filled(msgspec.Struct, frozen=True):
    """A mail as it is read, for a preview."""

    subject: str
    html: str
    text: str


_PADDING = "&nbsp;&zwnj;" * 75
"""Behind a short preview text, so that the inbox does not go on with the mail's first words."""
_PREHEADER = (
    '<div style="display:none;max-height:0;max-width:0;overflow:hidden;opacity:0;font-size:1px;line-height:1px;'
    'mso-hide:all">{}{}</div>'
)
_ADDRESS = "account_address"
_LINKS = {"unsubscribe_link": "Unsubscribe", "preferences_link": "Preferences"}
"""What every mail has to show beside the address, in its text and in its HTML, and what it is called in the footer."""
_FOOTER_HTML = (
    '<div style="margin:0 auto;padding:24px 16px;max-width:600px;text-align:center;font-family:Helvetica,Arial,sans-serif;'
    'font-size:12px;line-height:1.5;color:#6e7781">{}</div>'
)
_PICTURE = re.compile(
    r"<[a-z][^<>]*?\s(?:src|background)\s*=\s*(?:\"([^\"]*)|'([^']*)|([^\"'\s>]+))|url\((?:&quot;|[\"'])?([^\"'&\s)]+)",
    re.IGNORECASE,
)
_FOUND_ANYWHERE = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:|//|#|\{|$)", re.IGNORECASE)
"""How an address begins that does not depend on the page that it stands in, or is not known yet."""


class CompiledMail:
    """A mail that lacks only its reader."""

    def __init__(
        self,
        subject: Template,
        reader: HtmlReader,
        text: Sequence[Segment],
        names: frozenset[str],
        lost_pictures: tuple[str, ...],
        whole: Entity,
    ) -> None:
        self.links = tuple(reader.links)
        """Where its links lead that may be rewritten, as typed; `rewrite` gets their positions."""
        self.names = names
        """Of all its merge fields."""
        self.lost_pictures = lost_pictures
        """Where those of its pictures are to come from that no mail program can find, as typed."""
        self._subject = subject
        self._html = reader.segments
        self._text = text
        self._headers = [header("MIME-Version", "1.0"), *whole.headers]
        self._slots = list(dict.fromkeys(piece for piece in whole.body if not isinstance(piece, bytes)))
        self._pieces: list[bytes] = []
        self._holes: list[tuple[int, int]] = []
        """(a piece, the slot that it is made of)"""
        numbers = {slot: number for number, slot in enumerate(self._slots)}
        for constant, run in groupby(whole.body, lambda piece: isinstance(piece, bytes)):
            if constant:
                self._pieces.append(b"".join(piece for piece in run if isinstance(piece, bytes)))
                continue
            for piece in run:
                if not isinstance(piece, bytes):
                    self._holes.append((len(self._pieces), numbers[piece]))
                    self._pieces.append(b"")

    def unknown(self, known: Collection[str]) -> list[str]:
        """The names that stand for nothing."""
        return sorted(self.names.difference(known))

    def build(
        self,
        values: Mapping[str, str],
        headers: Sequence[tuple[str, str]],
        rewrite: Rewrite | None = None,
        pixel: str | None = None,
    ) -> Built:
        """The mail to one lead: `headers`, whose values are finished, then the subject, then the parts."""
        encoded = [quoted(slot.fill(values, rewrite, pixel)) for slot in self._slots]
        pieces = self._pieces.copy()
        for piece, slot in self._holes:
            pieces[piece] = encoded[slot]
        subject = header_text(self._subject.fill(values, one_line), len("Subject: "))
        lines = [header(name, value) for name, value in headers]
        return Built([*lines, (b"Subject", subject.encode()), *self._headers], pieces)

    def fill(self, values: Mapping[str, str], rewrite: Rewrite | None = None, pixel: str | None = None) -> Filled:
        """The same, before it is encoded."""

        def filled(segments: Sequence[Segment]) -> str:
            return "".join(
                segment if isinstance(segment, str) else segment.fill(values, rewrite, pixel) for segment in segments
            )

        subject = one_line(clean_value(self._subject.fill(values, one_line))).strip()
        return Filled(subject, filled(self._html), filled(self._text))


def compile_mail(content: Content) -> CompiledMail:
    """Raises `BadContent`, which says what is wrong, and where."""
    subject = Template.parse(one_line(clean_text(content.subject)).strip())
    if subject == Template.parse(""):
        raise BadContent("The mail has no subject")
    source, preview, text = clean_text(content.source), clean_text(content.preview).strip(), clean_text(content.text)
    cover = Cover(source, preview, text)
    page = document(content.kind, cover.put(source, markup=True), cover.typed)
    files = [file_entity(file) for file in content.attachments]
    lost_pictures = _lost_pictures(cover.typed(page), content.attachments)
    written = cover.put(text) if text.strip() else as_text(page, cover.stem)
    plain = text_segments(cover, f"{written.rstrip()}\n{cover.put(_text_footer(cover.names_in(written)))}")
    at_start = _PREHEADER.format(html.escape(cover.put(preview)), _PADDING) if preview else ""
    reader = HtmlReader(cover, at_start, cover.put(_html_footer(_shown(page, cover))))
    reader.read(f"{page}\n")
    whole = _assembled(text_entity("plain", plain), text_entity("html", reader.segments), files, content.attachments)
    return CompiledMail(subject, reader, plain, cover.names | subject.names, lost_pictures, whole)


def _shown(page: str, cover: Cover) -> frozenset[str]:
    """The merge fields that the reader of a covered page can see, or follow: of an address, only what it begins with."""
    texts, targets = seen(page)
    begins = (next(filter(None, cover.split(target)), "") for target in targets)
    linked = {part.name for part in begins if isinstance(part, Field)}
    return (cover.names_in("\n".join(texts)) - _LINKS.keys()) | linked


def _text_footer(there: Collection[str]) -> str:
    """What a text still lacks that has these merge fields."""
    address = [] if _ADDRESS in there else [f"{{{_ADDRESS}}}"]
    lines = [*address, *(f"{label}: {{{name}}}" for name, label in _LINKS.items() if name not in there)]
    return "\n".join(["", "-" * 20, *lines, ""]) if lines else ""


def _html_footer(there: Collection[str]) -> str:
    address = "" if _ADDRESS in there else f"<div>{{{_ADDRESS}}}</div>"
    links = " &nbsp; ".join(
        f'<a href="{{{name}}}" style="color:#6e7781">{label}</a>' for name, label in _LINKS.items() if name not in there
    )
    inside = address + (f"<div>{links}</div>" if links else "")
    return _FOOTER_HTML.format(inside) if inside else ""


def _lost_pictures(page: str, files: Sequence[Attachment]) -> tuple[str, ...]:
    """Raises `BadContent` if one is to be among the attachments, and is not."""
    here = {file.inline_id for file in files if file.inline_id}
    lost: dict[str, None] = {}
    for match in _PICTURE.finditer(page):
        source = html.unescape(next(filter(None, match.groups()), "")).strip()
        scheme, _, wanted = source.partition(":")
        if scheme.lower() == "cid" and wanted not in here:
            raise BadContent(f'The picture "cid:{wanted}" is not among the attachments')
        if not _FOUND_ANYWHERE.match(source):
            lost[source] = None
    return tuple(lost)


def _assembled(text: Entity, page: Entity, files: Sequence[Entity], attachments: Sequence[Attachment]) -> Entity:
    """Two ways to say it; around the second its pictures, around all of it the files."""
    stem = boundary_of([text, page, *files])
    pictures = [entity for entity, file in zip(files, attachments, strict=True) if file.inline_id]
    attached = [entity for entity, file in zip(files, attachments, strict=True) if not file.inline_id]
    if pictures:
        page = multipart('related; type="text/html"', b"%b.r" % stem, [page, *pictures])
    whole = multipart("alternative", b"%b.a" % stem, [text, page])
    return multipart("mixed", b"%b.m" % stem, [whole, *attached]) if attached else whole
