"""The form in which names and addresses are looked for: `jose` finds José, `MULLER` finds Müller. Pure."""

import unicodedata

LONGEST_KEY = 200
"""Characters: an index takes no text of any length."""

_LETTERS = str.maketrans(
    {"ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ł": "l", "ŧ": "t", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i"}  # noqa: RUF001
    | {"’": "'", "ʼ": "'", "\u200c": None, "\u200d": None}  # noqa: RUF001
)
"""Letters that Unicode does not take apart; apostrophes, and what joins letters without being seen."""


def search_key(text: str) -> str:
    """Without case and accents, in any alphabet. What is stored was made so: another form needs a migration."""
    if text.isascii():
        return text[:LONGEST_KEY].lower()
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text[:LONGEST_KEY]).casefold())
    plain = "".join(letter for letter in apart if not unicodedata.combining(letter)).translate(_LETTERS)
    return (plain or text)[:LONGEST_KEY]


def keys_of(email: str, first_name: str, last_name: str) -> tuple[str, str, str]:
    """What stands beside these in a lead's row; beside an address only if it has other letters than A to Z."""
    return "" if email.isascii() else search_key(email), search_key(first_name), search_key(last_name)
