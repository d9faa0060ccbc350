"""Sentences that remember how they were put together, so that the pages can say them in other languages.

    phrase("Got the tag {tag}", tag="Customer")

is the English text, and a text like any other: the command line prints it, the database keeps it. The pages look for what
stands in the code, here `Got the tag {tag}`, among their translations, and fill that in; values that are phrases
themselves are said in that language, too. `make messages` finds the texts by the names of these functions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Phrase(str):
    """A text in English. `form` is what stands in the code, `values` what is filled in."""

    __slots__ = ("form", "values")

    form: str
    values: Mapping[str, Any]


def phrase(text: str, /, **values: object) -> str:
    made = Phrase(text.format(**values) if values else text)
    made.form, made.values = text, values
    return made


def form(text: str) -> str:
    """Marks a text that stands in a table, for `make messages`; `phrase` is made of it later."""
    return text


def kept(text: str) -> str:
    """A text that the database gave back: what it is if the code has it as a form, or else a quotation."""
    return text if isinstance(text, Phrase) or not text else phrase(text)


def joined(text: str, texts: Sequence[str]) -> str:
    """One after the other by a form like `{first} and {rest}`."""
    if len(texts) < 2:  # noqa: PLR2004 - to join takes two
        return texts[0] if texts else ""
    return phrase(text, first=texts[0], rest=joined(text, texts[1:]))


def said(text: str, translate: Callable[[str], str]) -> str:
    """The text by another language's forms; what is no phrase stays as it is."""
    if not isinstance(text, Phrase):
        return text
    values = {name: said(value, translate) if isinstance(value, str) else value for name, value in text.values.items()}
    translated = translate(text.form)
    return translated.format(**values) if values else translated
