"""What a value that an operator writes as text has to be. Each raises ValueError with what it has to be."""

from collections.abc import Callable


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
