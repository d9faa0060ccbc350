"""Where a lead's value may land in a mail, and what makes it inert there.

Whatever a lead wrote into a form is text, never markup, never code, never a header. Values come here as
`merge.clean_value` leaves them: without control characters. In places that expect a word of some language (CSS, a
script) everything else is left out; elsewhere a value is escaped, so that the reader sees what the lead wrote.
"""

import html
import re
from collections.abc import Callable
from functools import cache
from urllib.parse import quote

import msgspec

_MARKUP = re.compile(r"[&<>\"'\n\t]")
_WEB = re.compile(r"(?:https?://|mailto:)[^\s<>\"'`\\^{}|]+", re.IGNORECASE)
_NOT_CSS = re.compile(r"[^\w #%.,+/:?=&~-]")
_NOT_SCRIPT = re.compile(r"[^\w .,@-]")
_NOT_WORD = re.compile(r"[^\w.-]")
_NOT_PHONE = re.compile(r"[^0-9+.-]")


class Place(msgspec.Struct, frozen=True):
    """Somewhere in a mail."""

    inert: Callable[[str], str]
    as_typed: Callable[[str], str]
    """How a field stays whose name nobody knows."""


def one_line(value: str) -> str:
    return " ".join(value.split()) if "\n" in value or "\t" in value else value


def _text(value: str) -> str:
    return html.escape(value).replace("\n", "<br>\n") if _MARKUP.search(value) else value


def _attribute(value: str) -> str:
    return html.escape(one_line(value)) if _MARKUP.search(value) else value


def _address(value: str) -> str:
    """Only what a reader may safely follow."""
    return value.strip() if _WEB.fullmatch(value.strip()) else ""


def _part_of_address(value: str) -> str:
    return quote(one_line(value), safe="")


def _part_of_mailto(value: str) -> str:
    return quote(one_line(value), safe="@+")


def _part_of_phone(value: str) -> str:
    return _NOT_PHONE.sub("", value)


def _css(value: str) -> str:
    return _NOT_CSS.sub("", one_line(value))


def _script(value: str) -> str:
    return _NOT_SCRIPT.sub("", one_line(value))


def _word(value: str) -> str:
    return _NOT_WORD.sub("", value)


@cache
def in_attribute(place: Place) -> Place:
    """The same place, inside the quotes of an attribute."""
    return Place(lambda value: html.escape(place.inert(value)), html.escape)


@cache
def in_comment(place: Place) -> Place:
    """The same place in a comment, of which Outlook reads some as HTML: without dashes no value can end it."""
    return Place(lambda value: place.inert(value).replace("-", "&#45;"), place.as_typed)


PLAIN = Place(str, str)
MARKUP = Place(html.escape, html.escape)
TEXT = Place(_text, html.escape)
LINE = Place(_attribute, html.escape)
"""In an attribute, or in an element that knows no other elements."""
CSS = Place(_css, str)
SCRIPT = Place(_script, str)
WORD = Place(_word, html.escape)
"""In an attribute without quotes."""

ADDRESS = Place(_address, str)
"""All of a URL, or its start."""
_PART_OF_ADDRESS = Place(_part_of_address, str)
_PARTS_OF_ADDRESSES = {
    "": _PART_OF_ADDRESS,
    "http": _PART_OF_ADDRESS,
    "https": _PART_OF_ADDRESS,
    "cid": _PART_OF_ADDRESS,
    "mailto": Place(_part_of_mailto, str),
    "tel": Place(_part_of_phone, str),
    "sms": Place(_part_of_phone, str),
}
_UNKNOWN_SCHEME = Place(_word, str)
_SCHEME = re.compile(r"\s*([a-z][a-z0-9+.-]*):", re.IGNORECASE)


def part_of_address(start: str) -> Place:
    """A later part of a URL that starts so. Of schemes that nobody here knows, any may run what it is given."""
    scheme = _SCHEME.match(start)
    return _PARTS_OF_ADDRESSES.get(scheme[1].lower() if scheme else "", _UNKNOWN_SCHEME)
