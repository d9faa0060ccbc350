"""How deep a mail's elements can be nested, before a parser meets them that takes its process with it.

Counting is quick, and errs only upwards: an element counts as open until it is certain that every parser has closed it.
Where it counts too much, a parser that does not recurse is asked, if the mail is so small that this is quick.
"""

import re

from selectolax.lexbor import LexborHTMLParser

from cartwheel.mail.merge import BadContent

DEEPEST = 200
"""Levels of elements. Parsers that recurse stand some thousands."""

_MOST_CLONES = 1_000_000
"""How many elements a parser may have to open again, since formatting goes on behind the end of what it stands in."""
_MOST_TAGS_ASKED = 10_000
_AROUND = 4
"""`html`, `body`, and what a parser makes of `</p>` or `<col>`."""

_WS = r" \t\n\f\r"
_ATTRIBUTES = rf"""(?P<rest>(?:[{_WS}/]++|[^{_WS}/>][^{_WS}/>=]*+
    (?:[{_WS}]*+=[{_WS}]*+(?:"[^"]*+"|'[^']*+'|(?=>)|[^{_WS}>"'][^{_WS}>]*+))?+)*+)"""
_TAG = rf"<(?P<closing>/?)(?P<name>[a-zA-Z][^{_WS}/>]*+){_ATTRIBUTES.replace(chr(10) + '    ', '')}>?"
_HTML = re.compile(rf"<!--(?:-?>|.*?(?:--!?>|\Z))|<(?:!(?!--)|\?|/(?![a-zA-Z]))[^>]*>?|{_TAG}", re.DOTALL)
_MJML = re.compile(
    rf"<!--.*?(?:-->|\Z)|<!\[(?:if[^\]<>]*|endif)\]>|(?P<unclear><[!?]|</(?![a-zA-Z]))|{_TAG}", re.DOTALL
)
_OPENING = re.compile(r"<([a-zA-Z][^\s/>]*)")

_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
_ONCE = frozenset(["html", "head", "body"])
_RAW = {name: re.compile(rf"</{name}(?=[{_WS}/>])", re.IGNORECASE) for name in ("script", "style", "title", "textarea")}
_UNCLEAR = frozenset(
    [
        "svg",
        "math",
        "template",
        "frameset",
        "select",
        "noscript",
        "noframes",
        "noembed",
        "plaintext",
        "xmp",
        "iframe",
        "listing",
        "image",
    ]
)
"""What follows them is read by other rules, or not by all parsers in the same way."""
_FORMATTING = frozenset(
    ["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"]
)
_MADE_AROUND = {"td": 3, "th": 3, "tr": 2}
"""With the elements that a parser adds between a table and its cell."""
_CELL = frozenset(["td", "th"])
_ROWS = frozenset(["tbody", "thead", "tfoot"])
_TABLE = {**dict.fromkeys(_ROWS, _ROWS), "tr": frozenset(["tr"]), **dict.fromkeys(_CELL, _CELL)}
_SAME = {"li": frozenset(["li"]), **dict.fromkeys(("dt", "dd"), frozenset(["dt", "dd"]))}
_ENDING = frozenset(["p", "li", "dt", "dd"])
"""They end where what they stand in does, if that is one of these:"""
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "center",
        "details",
        "dialog",
        "dir",
        "div",
        "dl",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "header",
        "main",
        "menu",
        "nav",
        "ol",
        "pre",
        "section",
        "summary",
        "ul",
    ]
)


def check_depth(source: str, *, mjml: bool = False) -> None:
    """Raises `BadContent` if elements may be nested deeper than any mail needs."""
    count = Counted(source, mjml=mjml)
    if count.clones > _MOST_CLONES:
        raise BadContent("The mail's formatting (<b>, <font>, <a> …) is opened again and again, and not closed")
    if count.depth <= DEEPEST + _AROUND:
        return
    if not mjml and count.tags <= _MOST_TAGS_ASKED and real_depth(source) <= DEEPEST + _AROUND:
        return
    name, at = count.too_deep
    line = source.count("\n", 0, at) + 1
    raise BadContent(f"The mail's elements are nested deeper than {DEEPEST} levels (<{name}> in line {line})")


def real_depth(source: str) -> int:
    """What one parser makes of it."""
    deepest = depth = 1
    node = root = LexborHTMLParser(source).root
    while node is not None:
        below = node.first_child
        if below is not None:
            depth += 1
            deepest = max(deepest, depth)
            node = below
            continue
        while node is not None and node != root and node.next is None:
            node = node.parent
            depth -= 1
        node = None if node is None or node == root else node.next
    return deepest


class Counted:
    """The greatest depth of a source, at most."""

    def __init__(self, source: str, *, mjml: bool = False) -> None:
        self.depth = _AROUND
        self.tags = 0
        self.clones = 0
        self.too_deep = ("", 0)
        self._now = _AROUND
        self._formatting = 0
        self._open: list[str] = []
        self._mjml = mjml
        self._read(source)

    def _read(self, source: str) -> None:
        pattern = _MJML if self._mjml else _HTML
        at = 0
        while match := pattern.search(source, at):
            at = match.end()
            name = (match["name"] or "").lower()
            if self._mjml and match["unclear"]:
                return self._read_unclear(source, at)
            if not name:
                continue
            if match["closing"]:
                self._close(name)
                continue
            self._start(name, match)
            if self._mjml:
                continue
            if name in _UNCLEAR:
                return self._read_unclear(source, at)
            if name in _RAW:
                end = _RAW[name].search(source, at)
                inside = source[at : end.start() if end else len(source)]
                if name == "script" and "<!--" in inside:
                    return self._read_unclear(source, at)
                at += len(inside)
        return None

    def _read_unclear(self, source: str, at: int) -> None:
        """Whatever could be a tag opens an element, and nothing closes one."""
        for match in _OPENING.finditer(source, at):
            self.tags += 1
            self._push(match[1].lower(), match.start())

    def _start(self, name: str, match: re.Match[str]) -> None:
        self.tags += 1
        self.clones += self._formatting
        if name in _VOID or (self._mjml and match["rest"].endswith("/")):
            return
        if not self._mjml:
            if name in _ONCE:
                return
            self._close_before(name)
        self._push(name, match.start())

    def _push(self, name: str, at: int) -> None:
        self._open.append(name)
        self._now += _MADE_AROUND.get(name, 1)
        if name in _FORMATTING:
            self._formatting += 1
            self.clones += self._formatting
        if self._now > self.depth:
            self.depth = self._now
            if self.depth > DEEPEST + _AROUND and not self.too_deep[0]:
                self.too_deep = (name, at)

    def _cut(self, length: int) -> None:
        for name in self._open[length:]:
            self._now -= _MADE_AROUND.get(name, 1)
            self._formatting -= name in _FORMATTING
        del self._open[length:]

    def _close_before(self, name: str) -> None:
        """What an opening tag ends: the element before it that has no closing tag."""
        opened = self._open
        if name == "p" or name in _SAME:
            if opened and opened[-1] == "p":
                self._cut(len(opened) - 1)
            if opened and opened[-1] in _SAME.get(name, ()):
                self._cut(len(opened) - 1)
        elif name in _TABLE:
            self._close_in_table(_TABLE[name])

    def _close(self, name: str) -> None:
        opened = self._open
        if opened and opened[-1] == name:
            self._cut(len(opened) - 1)
        elif self._mjml:
            return
        elif name in _BLOCKS:
            at = len(opened)
            while at and opened[at - 1] in _ENDING:
                at -= 1
            if at and opened[at - 1] == name:
                self._cut(at - 1)
        elif name in _TABLE:
            self._close_in_table(frozenset([name]))
        elif name == "table":
            table = self._table()
            if table is not None:
                self._cut(table)

    def _table(self) -> int | None:
        """Where the innermost table stands."""
        for at in range(len(self._open) - 1, -1, -1):
            if self._open[at] == "table":
                return at
        return None

    def _close_in_table(self, names: frozenset[str]) -> None:
        """The part of the innermost table with one of these names, if there is nothing between the two but its own parts."""
        table = self._table()
        if table is None:
            return None
        for at in range(table + 1, len(self._open)):
            if self._open[at] in names:
                return self._cut(at)
            if self._open[at] not in _ROWS and self._open[at] != "tr":
                return None
        return None
