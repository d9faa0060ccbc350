"""When a step of a sequence is due: delays, dates and windows, in whose zone, and what summer time does to them. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cartwheel.errors import CartwheelError
from cartwheel.phrases import form, phrase

Interval = tuple[datetime, datetime]
"""From the first moment on, up to the second one without it."""


class BadSchedule(CartwheelError):
    """A delay, a window or a date cannot be read."""

    def __init__(self, entry: str, value: object, wanted: str) -> None:
        text = str(value)
        super().__init__(f"{entry} {text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + '…'!r}: {wanted}")
        self.entry = entry
        self.wanted = wanted


_LONGEST_SHOWN = 40


# -- zones --

ACCOUNT_ZONE = "account"
LEAD_ZONE = "lead"
"""The lead's own zone; the account's where the lead tells none that exists."""

_ALIASES = {
    "Z": "UTC",
    "Eastern Standard Time": "America/New_York",
    "Central Standard Time": "America/Chicago",
    "Mountain Standard Time": "America/Denver",
    "Pacific Standard Time": "America/Los_Angeles",
    "Eastern Time (US & Canada)": "America/New_York",
    "Central Time (US & Canada)": "America/Chicago",
    "Mountain Time (US & Canada)": "America/Denver",
    "Pacific Time (US & Canada)": "America/Los_Angeles",
}
"""What Windows and Rails call the zones of most profiles; theirs mean the zone with its summer time."""

_THIS_MACHINES = {"localtime", "Factory"}


@lru_cache(maxsize=1)
def _keys() -> dict[str, str]:
    """Every name in small letters, so that no text from outside is ever taken for a file's name."""
    known = {key: key for key in available_timezones() - _THIS_MACHINES} | _ALIASES
    return {name.lower(): key for name, key in known.items()}


_zone_of_key = lru_cache(maxsize=None)(ZoneInfo)


def zone(text: str) -> ZoneInfo | None:
    """The zone of this name, however it is capitalised; None for anything else that stands in a profile."""
    key = _keys().get(text.strip().lower())
    return _zone_of_key(key) if key else None


def _check_zone(name: str) -> None:
    if name not in {ACCOUNT_ZONE, LEAD_ZONE} and zone(name) is None:
        raise BadSchedule("zone", name, 'give "account", "lead" or a time zone like "Europe/Madrid"')


def _zone_meant(name: str, account_zone: ZoneInfo, lead_zone: ZoneInfo | None) -> ZoneInfo:
    if name == ACCOUNT_ZONE:
        return account_zone
    if name == LEAD_ZONE:
        return lead_zone or account_zone
    return zone(name) or account_zone


# -- from the clock on the wall to moments --


def _first(local: datetime, tz: ZoneInfo) -> datetime:
    """When the clocks first show this time, or a later one because they skip it."""
    early, late = _readings(local, tz)
    return early if early <= late else _skip(late, early, tz)


def _end(local: datetime, tz: ZoneInfo) -> datetime:
    """When the clocks have shown the last time before this one."""
    early, late = _readings(local - _INSTANT, tz)
    return late + _INSTANT if early <= late else _skip(late, early, tz)


def _readings(local: datetime, tz: ZoneInfo) -> Interval:
    """The moment by the offset before a change of the clocks, and by the one after it: in that order if the time comes
    twice, in the other one if it is skipped, the same where nothing changes.
    """
    return local.replace(tzinfo=tz).astimezone(UTC), local.replace(tzinfo=tz, fold=1).astimezone(UTC)


def _skip(before: datetime, after: datetime, tz: ZoneInfo) -> datetime:
    """The second at which the offset changes, somewhere between the two."""
    before, after = before.replace(microsecond=0), after.replace(microsecond=0)
    offset = before.astimezone(tz).utcoffset()
    while (half := (after - before) // 2 // _SECOND * _SECOND) > timedelta(0):
        if (before + half).astimezone(tz).utcoffset() == offset:
            before += half
        else:
            after = before + half
    return after


_INSTANT = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)

_MOST_PUT_BACK = timedelta(hours=12)
"""No clock was put back by more since 1970; the most were seven hours, at Vostok in the Antarctic."""


# -- what a step may ask for --


class Unit(StrEnum):
    """What a delay is counted in: real time, so that a day has 24 hours whatever the clocks do."""

    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"
    WEEKS = "weeks"


_DELAY = re.compile(r"([0-9]{1,7}) (minute|hour|day|week)s?")
_LONGEST_DELAY = timedelta(days=3660)


@dataclass(frozen=True)
class Delay:
    """How long a lead waits at a step after it has come there."""

    amount: int
    unit: Unit

    def __post_init__(self) -> None:
        if not timedelta(0) <= self.length <= _LONGEST_DELAY:
            raise BadSchedule("delay", self, "a lead waits ten years at the most")

    @classmethod
    def read(cls, text: str) -> "Delay":
        """`2 days`, `1 hour`, `0 minutes`; `str` writes it back."""
        found = _DELAY.fullmatch(text)
        if found is None:
            raise BadSchedule("delay", text, 'give a number of minutes, hours, days or weeks, like "2 days"')
        return cls(int(found[1]), Unit(f"{found[2]}s"))

    def __str__(self) -> str:
        return f"{self.amount} {self.unit[:-1] if self.amount == 1 else self.unit}"

    @cached_property
    def length(self) -> timedelta:
        return timedelta(**{self.unit: self.amount})


_TOLD = {
    "minute": form("{number} minute"),
    "minutes": form("{number} minutes"),
    "hour": form("{number} hour"),
    "hours": form("{number} hours"),
    "day": form("{number} day"),
    "days": form("{number} days"),
    "week": form("{number} week"),
    "weeks": form("{number} weeks"),
}


def told(delay: str) -> str:
    """A delay as a phrase."""
    number, _, unit = delay.partition(" ")
    return phrase(_TOLD[unit], number=number) if unit in _TOLD else delay


_LENGTH = re.compile(r"([0-9]{1,7}) *([mhdw]|(?:minute|hour|day|week)s?)")


def length(text: str) -> timedelta:
    """How long, as people type it: `3h`, `2d`, or like a delay. Raises `BadSchedule`."""
    found = _LENGTH.fullmatch(text.strip())
    if found is None:
        raise BadSchedule("time", text, 'give a time like 30m, 3h, 2d, 1w or "2 days"')
    unit = next(unit for unit in Unit if unit.startswith(found[2][0]))
    return Delay(int(found[1]), unit).length


_DATE_FORM = "%Y-%m-%d %H:%M"
_DATE = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}")


@dataclass(frozen=True)
class At:
    """A date and time on the wall of a zone."""

    local: datetime
    zone: str = ACCOUNT_ZONE

    def __post_init__(self) -> None:
        if self.local.tzinfo is not None:
            raise BadSchedule("at", self.local, "its zone stands beside it")
        _check_zone(self.zone)

    @classmethod
    def read(cls, text: str, zone: str = ACCOUNT_ZONE) -> "At":
        """`2027-01-05 09:00`; `str` writes it back."""
        try:
            if _DATE.fullmatch(text):
                return cls(datetime.strptime(text, _DATE_FORM), zone)  # noqa: DTZ007 - the zone stands beside it
        except ValueError:
            pass
        raise BadSchedule("at", text, 'give a date and a time like "2027-01-05 09:00"')

    def __str__(self) -> str:
        return self.local.strftime(_DATE_FORM)

    def moment(self, account_zone: ZoneInfo, lead_zone: ZoneInfo | None) -> datetime:
        return _first(self.local, _zone_meant(self.zone, account_zone, lead_zone))


DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_OPENS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_CLOSES = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00)")


def _time_of_day(entry: str, text: str, form: re.Pattern[str]) -> timedelta:
    found = form.fullmatch(text)
    if found is None:
        raise BadSchedule(entry, text, 'give a time of day like "09:00"')
    hours, minutes = (int(group) for group in found.groups() if group)
    return timedelta(hours=hours, minutes=minutes)


@dataclass(frozen=True)
class Window:
    """Days of the week and hours of the day in which a step may run.

    One that closes earlier than it opens reaches over midnight, and belongs to the day on which it opens. When the
    clocks change, it opens as soon as they show its opening time or a later one, and stays open until they will not
    show any time before its closing time again.
    """

    days: frozenset[str] = frozenset(DAYS)
    opens: str = "00:00"
    closes: str = "24:00"
    zone: str = ACCOUNT_ZONE

    def __post_init__(self) -> None:
        for day in sorted(self.days - set(DAYS)):
            raise BadSchedule("days", day, f"the days are {', '.join(DAYS)}")
        if not self.days:
            raise BadSchedule("days", [], "give at least one day")
        _check_zone(self.zone)
        opens, closes = self._hours
        if opens == closes:
            raise BadSchedule("to", self.closes, "a window closes at another time than it opens")

    @cached_property
    def _hours(self) -> tuple[timedelta, timedelta]:
        """From the midnight before the opening: when it opens, and when it closes."""
        opens, closes = _time_of_day("from", self.opens, _OPENS), _time_of_day("to", self.closes, _CLOSES)
        return opens, closes + _DAY if closes < opens else closes

    @cached_property
    def _weekdays(self) -> frozenset[int]:
        return frozenset(DAYS.index(day) for day in self.days)

    def _intervals(self, near: datetime, tz: ZoneInfo) -> Iterator[Interval]:
        """When it is open, in order, without end; most that are over before `near` are left out.

        It starts two days back: a window may reach into the next day, and clocks put back at midnight show that one
        twice.
        """
        opens, closes = self._hours
        local = near.astimezone(tz).replace(tzinfo=None)
        midnight = datetime.combine(local, time()) - 2 * _DAY
        surely_over = local - _MOST_PUT_BACK
        while True:
            if midnight.weekday() in self._weekdays and midnight + closes > surely_over:
                yield _first(midnight + opens, tz), _end(midnight + closes, tz)
            midnight += _DAY

    def next_opening(self, moment: datetime, tz: ZoneInfo) -> datetime:
        """The moment itself if it is open then."""
        return next(
            max(opens, moment) for opens, closes in self._intervals(moment, tz) if moment < closes and opens < closes
        )


def due(
    arrived: datetime,
    delay: Delay | None,
    at: At | None,
    window: Window | None,
    account_zone: ZoneInfo,
    lead_zone: ZoneInfo | None,
) -> datetime:
    """When a lead that came to a step at `arrived` is through with it, in UTC.

    The delay passes first; then the date is waited for, unless it is over already; then the window, if it is shut.
    """
    moment = arrived.astimezone(UTC)
    if delay is not None:
        moment += delay.length
    if at is not None:
        moment = max(moment, at.moment(account_zone, lead_zone))
    if window is not None:
        moment = window.next_opening(moment, _zone_meant(window.zone, account_zone, lead_zone))
    return moment
