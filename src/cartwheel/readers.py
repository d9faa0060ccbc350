"""What a value that somebody writes as text has to be."""

from collections.abc import Callable

MOST_DIGITS = 18
"""Every number of so many digits fits into a BIGINT."""

EXACT_DIGITS = 15
"""Every number of so many digits is one that JSON keeps exactly, in programs of all kinds."""


def digits(text: str, most: int = MOST_DIGITS) -> int | None:
    """The whole number that an address or a form names, of at most so many digits; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= most else None


# -- settings: each raises ValueError with what it has to be --


def number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and low <= int(text) <= high:
            return int(text)
        raise ValueError(f"has to be a whole number from {low} to {high}")

    return read


def yes(text: str) -> bool:
    if text not in {"yes", "no"}:
        raise ValueError("has to be yes or no")
    return text == "yes"
