"""The languages of the pages. Another one is another file: locale/LANGUAGE.po, as `make messages` begins it."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files

from babel import Locale
from babel.core import negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from cartwheel.phrases import said

ENGLISH = "en"


@dataclass(frozen=True)
class Language:
    """One of the languages, by its code."""

    code: str
    translations: NullTranslations

    @property
    def locale(self) -> Locale:
        return Locale.parse(self.code)

    @property
    def name(self) -> str:
        """As those call it who speak it."""
        return str(self.locale.get_language_name(self.code)).capitalize()

    def gettext(self, text: str) -> str:
        return self.translations.gettext(text)

    def say(self, text: str) -> str:
        """What the rest of Cartwheel says, as a phrase; what it only quotes stays as it is."""
        return said(text, self.gettext)

    def ngettext(self, one: str, many: str, count: int) -> str:
        return self.translations.ngettext(one, many, count)


@cache
def languages() -> Mapping[str, Language]:
    """By code; the texts in the code are English."""
    found = {ENGLISH: Language(ENGLISH, NullTranslations())}
    for file in files("cartwheel").joinpath("ui", "locale").iterdir():
        if file.name.endswith(".po"):
            code = file.name.removesuffix(".po")
            compiled = io.BytesIO()
            write_mo(compiled, read_po(io.BytesIO(file.read_bytes()), locale=code))
            compiled.seek(0)
            found[code] = Language(code, GNUTranslations(compiled))
    return found


def choose(wanted: str, accept_language: str) -> Language:
    """The one that somebody has chosen, or else the first of the browser's that there is."""
    known = languages()
    if wanted in known:
        return known[wanted]
    asked = [part.partition(";")[0].strip() for part in accept_language[:500].split(",")]
    return known[negotiate_locale([code for code in asked if code], list(known), sep="-") or ENGLISH]
