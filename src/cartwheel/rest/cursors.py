"""What pages share: how many rows, and where the next page begins, as a text that callers need not understand."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from cartwheel.rest.problems import INVALID, Refusal
from cartwheel.rest.records import LARGEST_ID, MOST_ROWS

Rows = Annotated[int, Meta(ge=1, le=MOST_ROWS, description="How many at most.")]
Cursor = Annotated[str, Meta(max_length=1000, description="`after` of the page before; empty for the first.")]
Text = Annotated[str, Meta(min_length=1, max_length=320)]


def written_cursor(place: Sequence[object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(place)).encode()).decode().rstrip("=")


def read_cursor(after: str, kinds: Sequence[type]) -> list[Any] | None:
    """None for the first page. Raises `Refusal` for what no page has given."""
    place = read_place(after)
    if place is not None and [type(part) for part in place] != list(kinds):
        raise _UNKNOWN
    return place


def read_place(after: str) -> list[Any] | None:
    """`read_cursor` of a page whose places are of several kinds."""
    if not after:
        return None
    try:
        place = json.loads(base64.urlsafe_b64decode(after.encode() + b"=" * (-len(after) % 4)))
        if isinstance(place, list) and all(_storable(part) for part in place):
            return place
    except (binascii.Error, ValueError, RecursionError):
        pass  # whoever made this up
    raise _UNKNOWN


_UNKNOWN = Refusal(
    INVALID, "There is no such page: `after` is what a page before it told.", places={"?after": "unknown"}
)


def _storable(part: object) -> bool:
    if isinstance(part, int):
        return abs(part) <= LARGEST_ID
    return isinstance(part, str) and "\0" not in part and bool(part.encode())
