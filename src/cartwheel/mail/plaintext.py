"""The text part of a mail, read off its HTML: what a person would type who had only a typewriter."""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

_UNSEEN = frozenset({"head", "style", "script", "title", "template", "svg", "object", "iframe", "select", "textarea"})
_HIDING = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0\s*(?:;|$)|max-height\s*:\s*0(?:px)?\s*(?:;|$))",
    re.IGNORECASE,
)
_BLOCK_TAGS = "address article aside body center div footer form header li main nav section tbody"
_PARAGRAPH_TAGS = "blockquote dl figure h1 h2 h3 h4 h5 h6 hr ol p pre table ul"
_LINES = frozenset(["td", "th", "tr", *_BLOCK_TAGS.split()])
_PARAGRAPHS = frozenset(_PARAGRAPH_TAGS.split())
_BLOCKS = ",".join(["br", "img", *_BLOCK_TAGS.split(), *_PARAGRAPHS])
_UNDERLINES = {"h1": "=", "h2": "-"}
_LONGEST_UNDERLINE = 60
_BLANKS = re.compile(r"\s+")
_SHOWN = re.compile(r"(?:https?:|mailto:|tel:)(?://)?", re.IGNORECASE)


def as_text(page: str, stem: str) -> str:
    """The readable text of a document. Words that begin with `stem` stand for merge fields, also as a URL's start."""
    root = LexborHTMLParser(page).body
    if root is None:
        return ""
    writer = _Writer(stem)
    for node, entering in _walk(root):
        if entering:
            writer.enter(node)
        else:
            writer.leave(node)
    return writer.text()


def seen(page: str) -> tuple[list[str], list[str]]:
    """What the reader of a document gets to see: its texts, and where those of its links lead that show something."""
    root = LexborHTMLParser(page).body
    nodes = [node for node, entering in _walk(root) if entering] if root is not None else []
    texts = [node.text_content or "" for node in nodes if node.is_text_node]
    links = [node for node in nodes if node.tag == "a" and _shows_something(node)]
    return texts, [(node.attributes.get("href") or "").strip() for node in links]


def _shows_something(link: LexborNode) -> bool:
    return any(
        node.tag == "img" or (node.is_text_node and (node.text_content or "").strip()) for node, _ in _walk(link)
    )


def _walk(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """Every node that can be seen, when it begins and when it ends."""
    stack = [(root, True)]
    while stack:
        node, entering = stack.pop()
        yield node, entering
        if not entering or node.is_text_node:
            continue
        stack.append((node, False))
        children = [child for child in node.iter(include_text=True) if _seen(child)]
        stack += ((child, True) for child in reversed(children))


def _seen(node: LexborNode) -> bool:
    if node.is_text_node:
        return True
    if node.tag in _UNSEEN:
        return False
    attributes = node.attributes
    return "hidden" not in attributes and not _HIDING.search(attributes.get("style") or "")


class _Writer:
    """Lines of text that grow word by word."""

    def __init__(self, stem: str) -> None:
        self._stem = stem
        self._lines: list[str] = []
        self._line = ""
        self._margins: list[str] = []
        """What each line starts with, from the outside in."""
        self._bullet: str | None = None
        """What the next line starts with, in place of the innermost margin."""
        self._written: list[str] = []
        self._begun: list[int] = []
        """Where the links and headings that are open began, in `_written`."""
        self._gap: str | None = None
        """The margin of the blank line that comes before the next line, if one comes."""
        self._counters: list[int | None] = []
        self._as_typed = 0

    # -- elements --

    def enter(self, node: LexborNode) -> None:
        tag = node.tag or ""
        if node.is_text_node:
            self._write_text(node.text_content or "")
        elif tag == "br":
            self._end_line()
        elif tag == "img":
            self._write((node.attributes.get("alt") or "").strip())
        elif tag in {"td", "th"} and _is_cell(node):
            if self._line.strip():
                self._write(" | ")
        elif tag in _PARAGRAPHS:
            self._paragraph(tag)
        elif tag in _LINES:
            self._fresh_line()
        self._enter_special(tag, node)

    def _enter_special(self, tag: str, node: LexborNode) -> None:
        match tag:
            case "a" | "h1" | "h2":
                self._begun.append(len(self._written))
            case "ul" | "ol":
                self._counters.append(_first_number(node) if tag == "ol" else None)
            case "li":
                self._bullet = self._next_bullet()
                self._margins.append(" " * len(self._bullet))
            case "blockquote":
                self._margins.append("> ")
            case "pre":
                self._as_typed += 1
            case "hr":
                self._write("-" * 20)

    def leave(self, node: LexborNode) -> None:
        tag = node.tag or ""
        match tag:
            case "a":
                self._write_address(node.attributes.get("href") or "", self._since_begun())
            case "ul" | "ol":
                self._counters.pop()
            case "li" | "blockquote":
                self._fresh_line()
                self._margins.pop()
                self._bullet = None
            case "pre":
                self._as_typed -= 1
            case "h1" | "h2":
                title = self._since_begun()
                self._fresh_line()
                if title:
                    self._write(_UNDERLINES[tag] * min(len(title), _LONGEST_UNDERLINE))
        if tag in _PARAGRAPHS:
            self._paragraph(tag)
        elif tag in _LINES and not (tag in {"td", "th"} and _is_cell(node)):
            self._fresh_line()

    def _next_bullet(self) -> str:
        counter = self._counters[-1] if self._counters else None
        if counter is None:
            return "- "
        self._counters[-1] = counter + 1
        return f"{counter}. "

    def _since_begun(self) -> str:
        return "".join(self._written[self._begun.pop() :]).strip()

    def _write_address(self, href: str, text: str) -> None:
        href = href.strip()
        shown = _SHOWN.match(href)
        if not shown and not href.startswith(self._stem):
            return
        address = href if not shown or shown[0].endswith("//") else href[shown.end() :]
        if not text:
            self._write(address)
        elif text not in {address, href, address.partition("://")[2]}:
            self._write(f" ({address})")

    # -- text --

    def _write_text(self, text: str) -> None:
        if not self._as_typed:
            self._write(_BLANKS.sub(" ", text))
            return
        for number, line in enumerate(text.split("\n")):
            if number:
                self._end_line()
            self._write(line)

    def _write(self, text: str) -> None:
        if not self._as_typed and (not self._line or self._line.endswith(" ")):
            text = text.lstrip()
        self._line += text
        self._written.append(text)

    def _end_line(self) -> None:
        margin = "".join(self._margins)
        if self._gap is not None and self._lines:
            self._lines.append(min(self._gap, margin, key=len).rstrip())
        self._gap = None
        if self._bullet is not None and self._line:
            margin, self._bullet = "".join(self._margins[:-1]) + self._bullet, None
        self._lines.append((margin + self._line).rstrip())
        self._line = ""
        self._written.append("\n")

    def _fresh_line(self) -> None:
        if self._line.strip():
            self._end_line()
        self._line = ""

    def _paragraph(self, tag: str) -> None:
        self._fresh_line()
        nested_list = tag in {"ul", "ol"} and self._counters
        if self._bullet is None and not nested_list:
            margin = "".join(self._margins)
            self._gap = margin if self._gap is None else min(self._gap, margin, key=len)

    def text(self) -> str:
        self._fresh_line()
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(self._lines)).strip("\n")
        return f"{text}\n" if text else ""


def _first_number(node: LexborNode) -> int:
    start = (node.attributes.get("start") or "")[:6]
    return int(start) if start.isdecimal() else 1


def _is_cell(node: LexborNode) -> bool:
    """Whether it holds data, in a row of data. The others are there for the layout."""
    row = node.parent
    return row is not None and row.css_first(_BLOCKS) is None
