"""What the pages say, in the language of whoever reads them."""

import re
import tomllib
import unicodedata
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from importlib.resources.abc import Traversable

DEFAULT = "en"

_QUALITY = re.compile(r"q\s*=\s*([01](?:\.\d{0,3})?)", re.ASCII)

_spoken: ContextVar[str] = ContextVar("language", default=DEFAULT)
"""Of the request that is being answered: each has a context of its own."""


class Texts:
    """By page and place. Each file of the folder is a language: one more is one more file with the same keys."""

    def __init__(self, folder: Traversable) -> None:
        files = (file for file in folder.iterdir() if file.name.endswith(".toml"))
        self.by_language: Mapping[str, Mapping[str, Mapping[str, str]]] = {
            file.name.removesuffix(".toml"): tomllib.loads(file.read_text()) for file in files
        }

    @property
    def language(self) -> str:
        return _spoken.get()

    def speak(self, accepted: str) -> None:
        """Answer this request in the language that its Accept-Language header asks for."""
        _spoken.set(preferred(accepted, self.by_language))

    def __getitem__(self, page: str) -> Mapping[str, str]:
        return self.by_language[self.language][page]


def preferred(accepted: str, known: Collection[str]) -> str:
    """The known language that an Accept-Language header wants most; a region is as good as its language."""
    wanted: dict[str, float] = {}
    for entry in accepted.split(","):
        tag, _, quality = entry.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in known:
            wanted[language] = max(wanted.get(language, 0), _quality(quality))
    return max((language for language in wanted if wanted[language]), key=wanted.__getitem__, default=DEFAULT)


def _quality(parameter: str) -> float:
    found = _QUALITY.fullmatch(parameter.strip().lower())
    return float(found[1]) if found else 1


def isolated(name: str) -> str:
    """A name for the middle of a sentence: if it is written from right to left, it does not turn the rest."""
    turns = any(unicodedata.bidirectional(letter) in {"R", "AL"} for letter in name)
    return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}" if turns else name
