"""The tables and texts within steps, as account files have them: boxes, delays, windows, attachments, branches."""

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

import msgspec

from cartwheel.accounts import LONGEST_BODY
from cartwheel.sequences import schedule
from cartwheel.sequences.conditions import Text
from cartwheel.sequences.schedule import At, Delay, Window


def _says(description: str) -> msgspec.Meta:
    """What a key is for, as the reference has it."""
    return msgspec.Meta(description=description)


BOX_FORM = r"^[A-Za-z0-9]{1,20}\Z"
DELAY_FORM = r"^\d{1,6} (minute|hour|day|week)s?\Z"
FROM_FORM = r"^([01]\d|2[0-3]):[0-5]\d\Z"
TO_FORM = r"^(([01]\d|2[0-3]):[0-5]\d|24:00)\Z"
"""They end with `\\Z`, because `$` lets a line break follow."""

Body = Annotated[str, msgspec.Meta(max_length=LONGEST_BODY)]
Box = Annotated[str, msgspec.Meta(pattern=BOX_FORM, description="The box of a step.")]
DelayText = Annotated[str, msgspec.Meta(pattern=DELAY_FORM, description="Like `2 days`.")]


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

delay_of = lru_cache(maxsize=1000)(Delay.read)
at_of = lru_cache(maxsize=1000)(At.read)
_window = lru_cache(maxsize=1000)(Window)


def readable(read: Callable[..., object], *given: Any) -> None:
    """Raises a `ValueError`, as the reader of account files wants it, when a part of a schedule cannot be read."""
    try:
        read(*given)
    except schedule.BadSchedule as error:
        raise ValueError(str(error)) from None


class WindowPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """When a step may be taken: days of the week, and hours of the day in a time zone."""

    days: Annotated[list[Day], _says("On which days it may begin.")] = msgspec.field(
        default_factory=lambda: list(get_args(Day))
    )
    from_: Annotated[
        str,
        msgspec.Meta(pattern=FROM_FORM, description="From this time of the day on, like `09:00`."),
    ] = msgspec.field(default="00:00", name="from")
    to: Annotated[
        str,
        msgspec.Meta(
            pattern=TO_FORM,
            description="Up to this time, like `17:00` or `24:00`; before `from`, it is that of the next day.",
        ),
    ] = "24:00"
    zone: Annotated[
        str,
        _says(
            "Whose time: the `account`'s; the `lead`'s own, or the account's where that is not known; or a zone like"
            " `Europe/Madrid`."
        ),
    ] = "account"

    def __post_init__(self) -> None:
        readable(self.read)

    def read(self) -> Window:
        return _window(frozenset(self.days), self.from_, self.to, self.zone)


class Attachment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file that comes with a mail. With `inline`, a picture that the body shows as `cid:INLINE`."""

    name: Annotated[Text, _says("What the file is called where the mail is read.")]
    data: Annotated[bytes, _says("What is in it.")] = b""
    file: Annotated[str, _says("A file beside the account file, instead of its `data`.")] = ""
    media_type: Annotated[str, _says("Like `image/png`; without it, it is told by the name.")] = ""
    inline: Annotated[str, _says("What the body calls the picture behind `cid:`: letters, digits and `. _ - @`.")] = ""


class Branch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way of a random split. Of all leads, its weight's share goes it."""

    weight: Annotated[int, msgspec.Meta(ge=1, le=1000, description="Its share, of the sum of all weights.")]
    to: Annotated[Box, _says("The step that it leads to.")]
