"""Finding where a lead's values go in a finished HTML document or text, and what makes them inert in each place.

The document comes from the CSS inliner, so it is well-formed: attributes stand in double quotes. Only what is inside
comments is as its author wrote it, and Outlook reads some of those as HTML; they are read here with more patience.
"""

import html
import re
from collections.abc import Callable, Iterator, Mapping

import msgspec

from cartwheel.mail.inert import (
    ADDRESS,
    CSS,
    LINE,
    MARKUP,
    PLAIN,
    SCRIPT,
    TEXT,
    WORD,
    Place,
    in_attribute,
    in_comment,
    part_of_address,
)
from cartwheel.mail.merge import BadContent, Cover, Field

Rewrite = Callable[[int, str], str]
"""(number of a link, where it leads) → what is written in its place."""


class Value(msgspec.Struct, frozen=True):
    """A merge field, and where it stands."""

    field: Field
    place: Place

    def fill(self, values: Mapping[str, str], rewrite: Rewrite | None, pixel: str | None) -> str:  # noqa: ARG002
        value = self.field.value(values)
        return self.place.as_typed(self.field.typed) if value is None else self.place.inert(value)


class Link(msgspec.Struct, frozen=True):
    """The address of a link that may be rewritten."""

    number: int
    parts: tuple[str | Value, ...]
    place: Place

    def fill(self, values: Mapping[str, str], rewrite: Rewrite | None, pixel: str | None) -> str:
        target = "".join([part if isinstance(part, str) else part.fill(values, None, pixel) for part in self.parts])
        if rewrite is not None:
            target = rewrite(self.number, target)
        return self.place.inert(target)


class Pixel(msgspec.Struct, frozen=True):
    """The picture that tells that a mail was opened."""

    def fill(self, values: Mapping[str, str], rewrite: Rewrite | None, pixel: str | None) -> str:  # noqa: ARG002
        if pixel is None:
            return ""
        return f'<img src="{html.escape(pixel)}" width="1" height="1" alt="" style="display:block;border:0">'


Slot = Value | Link | Pixel
Segment = str | Slot

_WEB = re.compile(r"https?://", re.IGNORECASE)
_SITE = re.compile(r"https?://[^\s/?#\\]+[/?#]", re.IGNORECASE)
"""An address up to the end of its host."""
_MARKUP = re.compile(
    r'<!--(?P<comment>.*?)-->|<(?P<tag>/?[a-z][^\s/<>"]*+)(?P<rest>(?:[^<>"]|"[^"]*")*+)>?', re.DOTALL | re.IGNORECASE
)
_WILD_MARKUP = re.compile(
    r"""<(?P<tag>/?[a-z][^\s/<>"']*+)(?P<rest>(?:[^<>"']|"[^"]*"|'[^']*')*+)>?""", re.DOTALL | re.IGNORECASE
)
_ATTRIBUTE = re.compile(
    r"""(?P<name>[^\s"'<>/=]+)(?P<equals>\s*=\s*)(?:(?P<quote>["'])(?P<quoted>.*?)(?P=quote)|(?P<bare>[^\s"'>]+))""",
    re.DOTALL,
)
_URLS = re.compile("href|src|action|formaction|background|poster|cite|data|longdesc|srcset|xlink:href")
_LINKING = re.compile(r"a|area|v:\w+", re.IGNORECASE)
"""Elements that one can click on; Outlook has buttons of its own."""
_RAW = {"style": CSS, "script": SCRIPT, "title": LINE, "textarea": LINE}
"""Elements whose content is no markup."""
_URL_IN_TEXT = re.compile(r'https?://[^\s<>")]*', re.IGNORECASE)


class HtmlReader:
    """Takes a covered document apart, and puts what a mail needs at the start and the end of its body."""

    def __init__(self, cover: Cover, at_start: str, at_end: str) -> None:
        self.segments: list[Segment] = []
        self.links: dict[str, int] = {}
        """Their numbers, by their address as typed."""
        self._cover = cover
        self._at_start = at_start
        self._at_end = at_end
        self._in_comment = False

    def read(self, page: str) -> None:
        at = 0
        while found := _MARKUP.search(page, at):
            self._put(page[at : found.start()], TEXT)
            at = found.end()
            comment, tag = found["comment"], (found["tag"] or "").lower()
            if comment is not None:
                self._put("<!--", TEXT)
                self._read_comment(comment)
                self._put("-->", TEXT)
            elif tag == "/body":
                self._read_markup(self._at_end)
                self.segments += (Pixel(), found[0])
            else:
                self._read_tag(found)
                at = self._read_raw(page, at, tag)
                if tag == "body":
                    self._read_markup(self._at_start)
        self._put(page[at:], TEXT)

    def _read_markup(self, markup: str) -> None:
        """A piece of our own."""
        at_start, at_end, self._at_start, self._at_end = self._at_start, self._at_end, "", ""
        self.read(markup)
        self._at_start, self._at_end = at_start, at_end

    def _read_comment(self, comment: str) -> None:
        self._in_comment = True
        at = 0
        while found := _WILD_MARKUP.search(comment, at):
            self._put(comment[at : found.start()], TEXT)
            self._read_tag(found)
            at = self._read_raw(comment, found.end(), found["tag"].lower())
        self._put(comment[at:], TEXT)
        self._in_comment = False

    def _read_raw(self, page: str, at: int, tag: str) -> int:
        """What follows an opening tag, if no markup can be in it; returns where it ends."""
        place = _RAW.get(tag)
        if place is None:
            return at
        end = re.compile(f"</{tag}", re.IGNORECASE).search(page, at)
        stop = end.start() if end else len(page)
        self._put(page[at:stop], place)
        return stop

    def _read_tag(self, found: re.Match[str]) -> None:
        """A tag, attribute by attribute."""
        tag, rest = found["tag"], found["rest"]
        self._put_fixed(f"<{tag}", found)
        at = 0
        for attribute in _ATTRIBUTE.finditer(rest):
            name, quote = attribute["name"].lower(), attribute["quote"] or ""
            self._put_fixed(f"{rest[at : attribute.start()]}{attribute['name']}{attribute['equals']}{quote}", found)
            self._read_attribute(tag, name, attribute["quoted"] if quote else attribute["bare"], quoted=bool(quote))
            self._put_fixed(quote, found)
            at = attribute.end()
        self._put_fixed(rest[at:], found)
        self._put_fixed(">" if found[0].endswith(">") else "", found)

    def _read_attribute(self, tag: str, name: str, text: str, *, quoted: bool) -> None:
        if _URLS.fullmatch(name):
            self._read_url(text, clickable=name == "href" and bool(_LINKING.fullmatch(tag)))
        elif not quoted:
            self._put(text, WORD)
        elif name == "style":
            self._put(text, in_attribute(CSS))
        elif name.startswith("on"):
            self._put(text, in_attribute(SCRIPT))
        else:
            self._put(text, LINE)

    def _read_url(self, text: str, *, clickable: bool) -> None:
        parts = self._parts_of_url(html.unescape(text).strip())
        if clickable and _is_tracked(parts):
            typed = "".join(part if isinstance(part, str) else part.field.typed for part in parts)
            number = self.links.setdefault(typed, len(self.links))
            self.segments.append(Link(number, parts, self._here(MARKUP)))
            return
        for part in parts:
            if isinstance(part, str):
                self.segments.append(html.escape(part))
            else:
                self.segments.append(Value(part.field, self._here(in_attribute(part.place))))

    def _parts_of_url(self, url: str) -> tuple[str | Value, ...]:
        parts: list[str | Value] = []
        start = ""
        for part in self._cover.split(url):
            if isinstance(part, Field):
                parts.append(Value(part, part_of_address(start) if start or parts else ADDRESS))
            elif part:
                parts.append(part)
                start = start or part
        return tuple(parts)

    def _put(self, text: str, place: Place) -> None:
        self.segments += _landing(self._cover, text, self._here(place))

    def _here(self, place: Place) -> Place:
        return in_comment(place) if self._in_comment else place

    def _put_fixed(self, text: str, found: re.Match[str]) -> None:
        """A piece of a tag in which nothing can land."""
        for part in self._cover.split(text):
            if isinstance(part, Field):
                tag = self._cover.typed(found[0])
                raise BadContent(
                    f"{part.typed} inside the tag {tag}: a merge field can stand in texts and in attributes"
                )
            if part:
                self.segments.append(part)


def _is_tracked(parts: tuple[str | Value, ...]) -> bool:
    """Only where its author alone says to which site it leads: a signed address follows a link wherever it goes, and
    what stands in a lead's profile may come from anybody.
    """
    first = parts[0] if parts else ""
    if not isinstance(first, str):
        return False
    return bool(_SITE.match(first) if len(parts) > 1 else _WEB.match(first))


def text_segments(cover: Cover, text: str) -> list[Segment]:
    """A covered plain text, taken apart. In a URL, a value is a part of the URL."""
    segments: list[Segment] = []
    at = 0
    for url in _URL_IN_TEXT.finditer(text):
        segments += _landing(cover, text[at : url.start()], PLAIN)
        segments += _landing(cover, url[0], part_of_address(url[0]))
        at = url.end()
    segments += _landing(cover, text[at:], PLAIN)
    return segments


def _landing(cover: Cover, text: str, place: Place) -> Iterator[Segment]:
    for part in cover.split(text):
        if isinstance(part, str):
            yield part
        elif part.name:
            yield Value(part, place)
        else:
            yield place.as_typed(part.typed)
