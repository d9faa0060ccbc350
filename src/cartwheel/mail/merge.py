"""The merge language: `{first_name}` in a text stands for what is known of the lead who gets it.

`{first_name|there}` has a fallback for leads of whom it is not known. `{{first_name}}` is `{first_name}` to be read
literally. That is all: no expressions, no attributes. Braces that hold no name, like those of CSS, stay as they are; so
does a name that nobody knows, for the text has to go out in any case. Whoever saves a text asks `unknown` first.

Values are only ever put in, never read: braces in a lead's name are braces. What makes a value harmless where it lands
stands in `inert`.
"""

import html
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Self

import msgspec

from cartwheel.errors import CartwheelError


class BadContent(CartwheelError):
    """The content of a mail cannot be used."""


class MergeName(msgspec.Struct, frozen=True):
    """A name that every account knows."""

    name: str
    sample: str
    help: str


MERGE_NAMES = (
    MergeName("first_name", "Ada", "First name"),
    MergeName("middle_name", "King", "Middle name"),
    MergeName("last_name", "Lovelace", "Last name"),
    MergeName("last_name2", "Byron", "Second last name"),
    MergeName("email_address", "ada@shop.example", "E-mail address"),
    MergeName("email", "ada@shop.example", "E-mail address, by its short name"),
    MergeName("company", "Analytical Engines", "Company"),
    MergeName("date_joined", "December 10, 2024", "The day on which the lead came"),
    MergeName("phone_country_code", "44", "Country code of the phone number"),
    MergeName("phone", "20 7946 0000", "Phone number"),
    MergeName("ip", "203.0.113.7", "IP address"),
    MergeName("address", "12 St James's Square", "Street and number"),
    MergeName("zip", "SW1Y 4JH", "Postal code"),
    MergeName("city", "London", "City"),
    MergeName("state", "England", "State"),
    MergeName("country", "United Kingdom", "Country"),
    MergeName("website", "https://ada.example", "Website"),
    MergeName("facebook", "https://facebook.example/ada", "Facebook page"),
    MergeName("twitter", "https://twitter.example/ada", "Twitter page"),
    MergeName("linkedin", "https://linkedin.example/ada", "LinkedIn page"),
    MergeName("lead_picture", "https://ada.example/ada.png", "Address of a picture"),
    MergeName("score", "15", "Points"),
    MergeName("account_address", "1 Example Road\nLondon", "The sender's postal address"),
    MergeName("unsubscribe_link", "https://mail.example/u/1", "Address of the page that ends the mails"),
    MergeName("preferences_link", "https://mail.example/p/1", "Address of the page where the lead chooses its mails"),
)
"""What every account knows, beside the identifiers of its own custom fields."""

_FIELD = re.compile(
    r"\{\{(?P<literal>[A-Za-z0-9_-]+(?:\|[^{}\r\n]*)?)\}\}"
    r"|\{(?P<name>[A-Za-z0-9_-]+)(?:\|(?P<fallback>[^{}\r\n]*))?\}"
)

_LINE_END = re.compile("\r\n?|[\u2028\u2029]")
_CONTROL = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff"
_NOT_IN_TEXT = re.compile(f"[{_CONTROL}]")
_NOT_IN_A_VALUE = re.compile(f"[{_CONTROL}\ufeff\u202a-\u202e\u2066-\u2069]")
"""Also the marks that turn the direction of writing for whatever stands behind them."""


def clean_text(text: str) -> str:
    """What an author wrote, with plain line ends, and without what cannot be sent."""
    return _NOT_IN_TEXT.sub("", _LINE_END.sub("\n", text))


def clean_value(value: str) -> str:
    """A lead's value without anything that could act on its surroundings, in any kind of text."""
    return value if value.isprintable() else _NOT_IN_A_VALUE.sub("", _LINE_END.sub("\n", value))


class Field(msgspec.Struct, frozen=True):
    """One merge field of a text."""

    name: str
    """Empty for braces that are meant literally: no value has this name."""
    fallback: str
    typed: str

    def value(self, values: Mapping[str, str]) -> str | None:
        """The value or, when it is blank, the fallback; None when nobody knows the name."""
        value = values.get(self.name)
        if value is None:
            return None
        value = clean_value(value)
        return value if value and not value.isspace() else self.fallback


class Template(msgspec.Struct, frozen=True):
    """A text and its merge fields: a field stands between each two of the constants."""

    constants: tuple[str, ...]
    fields: tuple[Field, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        constants, fields, at = [""], list[Field](), 0
        for match in _FIELD.finditer(text):
            field = _field_of(match)
            constants[-1] += text[at : match.start()]
            if field.name:
                fields.append(field)
                constants.append("")
            else:
                constants[-1] += field.typed
            at = match.end()
        constants[-1] += text[at:]
        return cls(tuple(constants), tuple(fields))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(field.name for field in self.fields)

    def unknown(self, known: Collection[str]) -> list[str]:
        """The names that stand for nothing, in the order of the text."""
        return list(dict.fromkeys(field.name for field in self.fields if field.name not in known))

    def fill(self, values: Mapping[str, str], escape: Callable[[str], str] = str) -> str:
        """The text for one lead. `escape` makes a value harmless in what the text is going to be a part of."""
        filled = [self.constants[0]]
        for field, constant in zip(self.fields, self.constants[1:], strict=True):
            value = field.value(values)
            filled += (field.typed if value is None else escape(value), constant)
        return "".join(filled)


def _field_of(match: re.Match[str], *, markup: bool = False) -> Field:
    literal, name, fallback = match["literal"], match["name"], match["fallback"] or ""
    if literal is not None:
        return Field("", "", f"{{{literal}}}")
    typed = match[0]
    if markup:
        fallback, typed = html.unescape(fallback), html.unescape(typed)
    return Field(name, clean_value(fallback), typed)


class Cover:
    """Stands for merge fields while a text goes through parsers that know nothing of them.

    Each field becomes a word of letters and digits, which is the same to every parser, in every place.
    """

    def __init__(self, *texts: str) -> None:
        everything = "\n".join(texts).lower()
        stem = next(stem for number in range(len(everything) + 1) if (stem := f"q{number}merge") not in everything)
        self._words: dict[Field, str] = {}
        self._fields: list[Field] = []
        self.stem = stem
        self._word = re.compile(rf"{stem}(\d+)q")

    def put(self, text: str, *, markup: bool = False) -> str:
        """The text with a word for each field. In markup, a fallback is written as markup too (`&amp;`)."""
        return _FIELD.sub(partial(self._cover, markup=markup), text)

    def _cover(self, match: re.Match[str], *, markup: bool) -> str:
        field = _field_of(match, markup=markup)
        word = self._words.get(field)
        if word is None:
            word = self._words[field] = f"{self.stem}{len(self._fields)}q"
            self._fields.append(field)
        return word

    def split(self, text: str) -> Iterator[str | Field]:
        """The text without its words: constants, which may be empty, and fields by turns."""
        for position, part in enumerate(self._word.split(text)):
            yield self._fields[int(part)] if position % 2 else part

    @property
    def names(self) -> frozenset[str]:
        """Of all fields that it stands for."""
        return frozenset(field.name for field in self._fields if field.name)

    def names_in(self, text: str) -> frozenset[str]:
        """The names that a covered text uses."""
        return frozenset(part.name for part in self.split(text) if isinstance(part, Field) and part.name)

    def typed(self, text: str) -> str:
        """The text as somebody typed it."""
        return "".join(part.typed if isinstance(part, Field) else part for part in self.split(text))
