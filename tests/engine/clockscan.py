"""When windows open and dates come, by a scan of the minutes that looks at nothing but what the clocks show."""

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cartwheel.sequences.schedule import DAYS, Window

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@lru_cache(maxsize=256)
def clock(tz: ZoneInfo, day: datetime) -> list[tuple[datetime, datetime]]:
    """Every minute of a day of UTC, and what the clocks show in it."""
    moments = (day + n * MINUTE for n in range(1440))
    return [(moment, moment.astimezone(tz).replace(tzinfo=None)) for moment in moments]


@lru_cache(maxsize=256)
def interval(window: Window, tz: ZoneInfo, midnight: datetime) -> tuple[datetime, datetime]:
    """A window opens in the first minute that shows its opening time or a later one, and is shut after the last minute
    that shows one before its closing time."""
    opening, closing = midnight + hours(window.opens), midnight + hours(window.closes)
    closing += DAY if closing < opening else timedelta(0)
    days = [(midnight + n * DAY).replace(tzinfo=UTC) for n in range(-2, 4)]
    opens = next(moment for day in days for moment, shown in clock(tz, day) if shown >= opening)
    last = next(moment for day in reversed(days) for moment, shown in reversed(clock(tz, day)) if shown < closing)
    return opens, last + MINUTE


def hours(text: str) -> timedelta:
    return timedelta(hours=int(text[:2]), minutes=int(text[3:]))


def scan(moment: datetime, window: Window, tz: ZoneInfo) -> datetime:
    """The first moment from this one on at which the window is open."""
    today = datetime.combine(moment.date(), time())
    for midnight in (today + n * DAY for n in range(-4, 20)):
        if DAYS[midnight.weekday()] in window.days:
            opens, shuts = interval(window, tz, midnight)
            if moment < shuts and opens < shuts:
                return max(opens, moment)
    raise AssertionError


def first_minute(local: datetime, tz: ZoneInfo) -> datetime:
    """The first that shows this time, or a later one because the clocks skip it."""
    midnight = datetime.combine(local, time(), UTC)
    return next(moment for n in range(-2, 3) for moment, shown in clock(tz, midnight + n * DAY) if shown >= local)
