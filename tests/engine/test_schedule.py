"""When a step is due, against a scan of the minutes that looks at nothing but what the clocks show."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from clockscan import DAY, MINUTE, clock, first_minute, interval, scan
from hypothesis import given, settings
from hypothesis import strategies as st

from cartwheel.sequences.schedule import DAYS, At, BadSchedule, Delay, Unit, Window, due, zone

quick = settings(max_examples=100, derandomize=True, deadline=None, database=None)

UTC_ZONE = ZoneInfo("UTC")
MADRID = ZoneInfo("Europe/Madrid")
NEW_YORK = ZoneInfo("America/New_York")
WEEKDAYS = "mon tue wed thu fri"
EVERY_DAY = " ".join(DAYS)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(days: str, hours: str, zone: str = "account") -> Window:
    opens, closes = hours.split("-")
    return Window(frozenset(days.split()), opens, closes, zone)


# -- windows --

CHANGES = {
    "Madrid puts its clocks forward": ("Europe/Madrid", "2026-03-29"),
    "Madrid puts its clocks back": ("Europe/Madrid", "2026-10-25"),
    "New York puts its clocks forward": ("America/New_York", "2026-03-08"),
    "New York puts its clocks back": ("America/New_York", "2026-11-01"),
    "Lord Howe puts its clocks forward by half an hour": ("Australia/Lord_Howe", "2026-10-04"),
    "Lord Howe puts its clocks back by half an hour": ("Australia/Lord_Howe", "2026-04-05"),
    "Kolkata never changes": ("Asia/Kolkata", "2026-03-29"),
    "Apia leaves out a Friday": ("Pacific/Apia", "2011-12-30"),
    "Sao Paulo leaves out midnight": ("America/Sao_Paulo", "2018-11-04"),
    "Sao Paulo has eleven at night twice": ("America/Sao_Paulo", "2018-02-18"),
    "St John's goes back from a minute past midnight": ("America/St_Johns", "2010-11-07"),
    "Casey goes back by three hours": ("Antarctica/Casey", "2023-03-09"),
}

WINDOWS = {
    "office hours": (WEEKDAYS, "09:00-17:00"),
    "all the week": (EVERY_DAY, "00:00-24:00"),
    "all of Friday": ("fri", "00:00-24:00"),
    "Friday's office hours": ("fri", "09:00-17:00"),
    "the weekend": ("sat sun", "00:00-24:00"),
    "the hour that changes": (EVERY_DAY, "02:00-03:00"),
    "within the hour that changes": (EVERY_DAY, "02:10-02:20"),
    "into the hour that changes": (EVERY_DAY, "01:00-02:30"),
    "out of the hour that changes": ("sun", "02:30-04:00"),
    "around the hour that changes": ("sun", "01:45-03:15"),
    "the first hour": (EVERY_DAY, "00:00-01:00"),
    "the first half hour of Sundays": ("sun", "00:00-00:30"),
    "the last hour of Saturdays": ("sat", "23:00-24:00"),
    "the night": (EVERY_DAY, "22:00-06:00"),
    "Saturday's night": ("sat", "22:00-02:30"),
    "Friday's night": ("fri", "23:30-00:30"),
    "Friday's night, and nearly all of Saturday": ("fri", "23:59-23:58"),
    "Thursday's night": ("thu", "22:00-06:00"),
    "until midnight, written as 00:00": (WEEKDAYS, "12:00-00:00"),
    "nearly always": (EVERY_DAY, "02:30-02:15"),
    "nearly always, from the last minute on": (EVERY_DAY, "23:59-23:58"),
}


@pytest.mark.parametrize(("name", "day"), CHANGES.values(), ids=CHANGES)
def test_windows_open_and_shut_when_the_clocks_say_so(name: str, day: str) -> None:
    tz, change = ZoneInfo(name), utc(day)
    days = [change.replace(tzinfo=None) + n * DAY for n in range(-3, 4)]
    minutes = [minute for day in days for minute in clock(tz, day.replace(tzinfo=UTC))]
    changes = [after for (_, was), (after, shown) in pairwise(minutes) if shown - was != MINUTE]
    sample = [change + 127 * n * MINUTE for n in range(-34, 34)] + [
        at + n * MINUTE for at in changes for n in (-1, 0, 1)
    ]
    wrong = []
    for which, (weekdays, times) in WINDOWS.items():
        asked = window(weekdays, times)
        edges = [edge + n * MINUTE for day in days for edge in interval(asked, tz, day) for n in (-1, 0, 1)]
        for moment in sample + edges:
            expected = scan(moment, asked, tz)
            if due(moment, None, None, asked, tz, None) != expected:
                wrong.append((which, moment, expected))
    assert wrong == []


DUE = [
    ("2026-03-02 08:59", WEEKDAYS, "09:00-17:00", "2026-03-02 09:00"),
    ("2026-03-02 09:00", WEEKDAYS, "09:00-17:00", "2026-03-02 09:00"),
    ("2026-03-02 16:59:59.999999", WEEKDAYS, "09:00-17:00", "2026-03-02 16:59:59.999999"),
    ("2026-03-02 17:00", WEEKDAYS, "09:00-17:00", "2026-03-03 09:00"),
    ("2026-03-06 17:00", WEEKDAYS, "09:00-17:00", "2026-03-09 09:00"),
    ("2026-03-06 03:00", "thu", "22:00-06:00", "2026-03-06 03:00"),
    ("2026-03-06 06:00", "thu", "22:00-06:00", "2026-03-12 22:00"),
    ("2026-03-06 03:00", "fri", "22:00-06:00", "2026-03-06 22:00"),
    ("2026-03-06 23:59", "fri", "09:00-24:00", "2026-03-06 23:59"),
    ("2026-03-07 00:00", "fri", "09:00-24:00", "2026-03-13 09:00"),
]


@pytest.mark.parametrize(("arrived", "days", "times", "expected"), DUE)
def test_a_shut_window_is_waited_for(arrived: str, days: str, times: str, expected: str) -> None:
    assert due(utc(arrived), None, None, window(days, times), UTC_ZONE, None) == utc(expected)


NIGHTS = [
    ("02:30-04:00", "2026-03-29", "01:00", "02:00"),
    ("01:00-02:30", "2026-03-29", "00:00", "01:00"),
    ("02:30-04:00", "2026-10-25", "00:30", "03:00"),
    ("01:00-02:30", "2026-10-25", "23:00", "01:30"),
]


@pytest.mark.parametrize(("times", "day", "opens", "closes"), NIGHTS)
def test_madrid_in_the_nights_of_the_change(times: str, day: str, opens: str, closes: str) -> None:
    """Two hours ahead of UTC in summer, one in winter; the change is at one o'clock UTC."""
    asked = window("sun", times)
    opening = utc(f"{day} {opens}") - (DAY if opens > closes else timedelta(0))
    assert due(opening - 6 * DAY, None, None, asked, MADRID, None) == opening
    closing = utc(f"{day} {closes}")
    assert due(closing - MINUTE, None, None, asked, MADRID, None) == closing - MINUTE
    assert due(closing, None, None, asked, MADRID, None) > closing


def test_a_window_within_what_the_clocks_skip_stays_shut_that_day() -> None:
    asked = window("sun", "02:15-02:45")
    assert due(utc("2026-03-28 12:00"), None, None, asked, MADRID, None) == utc("2026-04-05 00:15")


def test_a_window_on_a_day_that_never_was_waits_for_the_next_week() -> None:
    apia = ZoneInfo("Pacific/Apia")
    asked = window("fri", "09:00-17:00")
    assert (
        due(utc("2011-12-29 12:00"), None, None, asked, apia, None).astimezone(apia).date().isoformat() == "2012-01-06"
    )


def test_whose_zone_a_window_goes_by() -> None:
    noon = utc("2026-06-01 12:00")
    opens = {
        of: due(noon, None, None, window(EVERY_DAY, "09:00-10:00", of), NEW_YORK, lead)
        for of, lead in {"account": MADRID, "lead": MADRID, "Asia/Tokyo": MADRID}.items()
    }
    assert opens["account"] == utc("2026-06-01 13:00")
    assert opens["lead"] == utc("2026-06-02 07:00")
    assert opens["Asia/Tokyo"] == utc("2026-06-02 00:00")
    assert due(noon, None, None, window(EVERY_DAY, "09:00-10:00", "lead"), NEW_YORK, None) == opens["account"]


# -- whatever the window --

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
DST_ZONES = ["Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "America/Havana"]
MINUTES_OF_DAY = st.integers(0, 239) | st.integers(0, 1439)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    opens, closes = draw(st.lists(MINUTES_OF_DAY, min_size=2, max_size=2, unique=True))
    days = draw(st.just(frozenset(DAYS)) | st.frozensets(st.sampled_from(DAYS), min_size=1))
    return Window(days, clock_text(opens), clock_text(closes))


def clock_text(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def next_change(moment: datetime, tz: ZoneInfo) -> datetime:
    """The hour of the next change of the clocks within a year, or the moment if there is none."""
    hours = [moment + timedelta(hours=n) for n in range(0, 8784, 12)]
    changes = (hour for hour in hours if hour.astimezone(tz).utcoffset() != moment.astimezone(tz).utcoffset())
    return next(changes, moment)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[datetime, ZoneInfo]:
    """Mostly close to a change of the clocks."""
    tz = ZoneInfo(draw(st.sampled_from(DST_ZONES) | st.sampled_from(ZONES)))
    moment = draw(st.datetimes(datetime(1985, 1, 1), datetime(2036, 1, 1))).replace(tzinfo=UTC)  # noqa: DTZ001
    if draw(st.booleans()):
        moment = next_change(moment, tz) + draw(st.timedeltas(timedelta(-1), timedelta(hours=12)))
    return moment, tz


@quick
@given(arrivals(), windows())
def test_whatever_the_window_it_is_as_the_scan_has_it(arrival: tuple[datetime, ZoneInfo], asked: Window) -> None:
    moment, tz = arrival
    assert due(moment, None, None, asked, tz, None) == scan(moment, asked, tz)


delays = st.builds(Delay, st.integers(0, 500), st.sampled_from(Unit))


@quick
@given(arrivals(), st.none() | delays, windows(), st.timedeltas(timedelta(0), timedelta(3)))
def test_a_step_is_never_early_never_outside_its_window_and_keeps_the_order(
    arrival: tuple[datetime, ZoneInfo], delay: Delay | None, asked: Window, later: timedelta
) -> None:
    arrived, tz = arrival
    found = due(arrived, delay, None, asked, tz, None)
    assert found.tzinfo is UTC
    assert found >= arrived + (delay.length if delay else timedelta(0))
    assert due(found, None, None, asked, tz, None) == found
    assert due(arrived + later, delay, None, asked, tz, None) >= found


# -- delays --

DELAYS = {
    "0 minutes": timedelta(0),
    "1 minute": timedelta(minutes=1),
    "90 minutes": timedelta(minutes=90),
    "1 hour": timedelta(hours=1),
    "2 days": timedelta(hours=48),
    "6 weeks": timedelta(days=42),
    "3660 days": timedelta(days=3660),
}


@pytest.mark.parametrize(("text", "length"), DELAYS.items())
def test_a_delay_is_written_as_it_was_read(text: str, length: timedelta) -> None:
    assert str(Delay.read(text)) == text
    assert Delay.read(text).length == length


@quick
@given(delays)
def test_every_delay_comes_back_as_it_was(delay: Delay) -> None:
    assert Delay.read(str(delay)) == delay


def test_one_or_many_are_read_with_or_without_the_s() -> None:
    assert Delay.read("1 days") == Delay.read("1 day")
    assert Delay.read("2 day") == Delay.read("2 days")


BAD_DELAYS = ["", "2", "days", "2days", "2  days", " 2 days", "2 days ", "2 days\n", "-1 days", "+1 days", "1.5 days",
              "two days", "2 Days", "2 months", "2 dayss", "٢ days", "²  days", "3661 days", "9999999 weeks",
              "99999999 minutes", "1e3 days", "1 day 2 hours", "days 2", "9" * 10_000 + " days"]  # fmt: skip


@pytest.mark.parametrize("text", BAD_DELAYS, ids=lambda text: text[:20])
def test_what_is_no_delay_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadSchedule, match=r"^delay ") as refused:
        Delay.read(text)
    assert refused.value.entry == "delay"
    assert len(str(refused.value)) < 200


def test_a_day_has_24_hours_whatever_the_clocks_do() -> None:
    saturday_noon = utc("2026-03-28 11:00")
    assert due(saturday_noon, Delay.read("1 day"), None, None, MADRID, None).astimezone(MADRID).hour == 13


def test_the_delay_passes_before_the_window_is_looked_at() -> None:
    friday = utc("2026-03-06 16:00")
    assert due(friday, Delay.read("30 minutes"), None, window(WEEKDAYS, "09:00-17:00"), UTC_ZONE, None) == utc(
        "2026-03-06 16:30"
    )
    assert due(friday, Delay.read("2 hours"), None, window(WEEKDAYS, "09:00-17:00"), UTC_ZONE, None) == utc(
        "2026-03-09 09:00"
    )


def test_without_delay_date_and_window_a_step_is_due_at_once() -> None:
    arrived = utc("2026-03-06 16:00:00.000001")
    assert due(arrived, None, None, None, MADRID, None) == arrived
    assert due(arrived.astimezone(NEW_YORK), None, None, None, MADRID, None).tzinfo is UTC


# -- dates --

DATES = [
    ("2027-01-05 09:00", "account", "2027-01-05 14:00"),
    ("2027-01-05 09:00", "lead", "2027-01-05 08:00"),
    ("2027-07-05 09:00", "lead", "2027-07-05 07:00"),
    ("2027-01-05 09:00", "Asia/Kolkata", "2027-01-05 03:30"),
    ("2027-03-28 02:30", "lead", "2027-03-28 01:00"),
    ("2027-10-31 02:30", "lead", "2027-10-31 00:30"),
]


@pytest.mark.parametrize(("text", "of", "expected"), DATES)
def test_a_date_is_one_of_its_zone(text: str, of: str, expected: str) -> None:
    date = At.read(text, of)
    assert str(date) == text
    assert due(utc("2026-12-01 00:00"), None, date, None, NEW_YORK, MADRID) == utc(expected)


def test_a_date_that_has_passed_holds_nobody_up() -> None:
    arrived = utc("2027-01-05 14:01")
    assert due(arrived, None, At.read("2027-01-05 09:00"), None, NEW_YORK, None) == arrived


def test_a_date_waits_for_the_window_too() -> None:
    sunday = At.read("2027-01-03 12:00")
    found = due(utc("2026-12-01 00:00"), Delay.read("1 day"), sunday, window(WEEKDAYS, "09:00-17:00"), UTC_ZONE, None)
    assert found == utc("2027-01-04 09:00")


@quick
@given(st.datetimes(datetime(2000, 1, 1), datetime(2999, 12, 31)), st.sampled_from(ZONES))  # noqa: DTZ001
def test_a_date_comes_in_the_first_minute_that_shows_it(local: datetime, name: str) -> None:
    local, tz = local.replace(second=0, microsecond=0), ZoneInfo(name)
    found = At.read(str(At(local))).moment(tz, None)
    assert found.astimezone(tz).replace(tzinfo=None) >= local
    assert (found - MINUTE).astimezone(tz).replace(tzinfo=None) < local


@quick
@given(arrivals())
def test_a_date_close_to_a_change_of_the_clocks_is_as_the_scan_has_it(arrival: tuple[datetime, ZoneInfo]) -> None:
    moment, tz = arrival
    local = moment.replace(tzinfo=None, second=0, microsecond=0)
    assert At(local).moment(tz, None) == first_minute(local, tz)


BAD_DATES = ["", "2027-01-05", "09:00", "2027-01-05T09:00", "2027-1-5 9:00", "2027-02-29 09:00", "2027-01-05 24:00",
             "2027-01-05 09:60", "2027-13-01 09:00", "2027-01-05 09:00:00", "2027-01-05 09:00 ", "0000-01-01 00:00",
             "1999-12-31 09:00", "3000-01-01 09:00", "2027-01-05 09:00+01:00", "٢٠٢٧-01-05 09:00", "2027-01-05  09:00",
             "2027-01-05 09:00\n", "2027-01-05 " + "0" * 10_000]  # fmt: skip


@pytest.mark.parametrize("text", BAD_DATES, ids=lambda text: text[:20])
def test_what_is_no_date_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadSchedule, match=r"^at ") as refused:
        At.read(text)
    assert len(str(refused.value)) < 200


def test_a_date_carries_no_zone_of_its_own() -> None:
    with pytest.raises(BadSchedule, match=r"^at "):
        At(utc("2027-01-05 09:00"))


# -- what is no window --

BAD_WINDOWS = [
    ("days", "", "09:00-17:00", "account"),
    ("days", "mon tues", "09:00-17:00", "account"),
    ("days", "Mon", "09:00-17:00", "account"),
    ("from", "mon", "9:00-17:00", "account"),
    ("from", "mon", "24:00-17:00", "account"),
    ("from", "mon", "09:60-17:00", "account"),
    ("from", "mon", "٠٩:00-17:00", "account"),
    ("from", "mon", "-17:00", "account"),
    ("from", "mon", "09:00\n-17:00", "account"),
    ("to", "mon", "09:00-25:00", "account"),
    ("to", "mon", "09:00-24:01", "account"),
    ("to", "mon", "09:00-5pm", "account"),
    ("to", "mon", "09:00-09:00", "account"),
    ("to", "mon", "00:00-00:00", "account"),
    ("zone", "mon", "09:00-17:00", ""),
    ("zone", "mon", "09:00-17:00", "Mars/Olympus"),
    ("zone", "mon", "09:00-17:00", "../../etc/passwd"),
]


@pytest.mark.parametrize(("entry", "days", "times", "of"), BAD_WINDOWS)
def test_what_is_no_window_is_refused_by_name(entry: str, days: str, times: str, of: str) -> None:
    with pytest.raises(BadSchedule, match=f"^{entry} ") as refused:
        window(days, times, of)
    assert refused.value.entry == entry


def test_a_date_in_no_zone_is_refused_by_name() -> None:
    with pytest.raises(BadSchedule, match=r"^zone "):
        At.read("2027-01-05 09:00", "Mars/Olympus")


# -- the zones of profiles --

ZONE_NAMES = {
    "Europe/Madrid": "Europe/Madrid",
    "europe/madrid": "Europe/Madrid",
    " America/New_York\n": "America/New_York",
    "America/Argentina/Buenos_Aires": "America/Argentina/Buenos_Aires",
    "Etc/GMT+5": "Etc/GMT+5",
    "EST5EDT": "EST5EDT",
    "utc": "UTC",
    "Z": "UTC",
    "Eastern Standard Time": "America/New_York",
    "Pacific Time (US & Canada)": "America/Los_Angeles",
}


@pytest.mark.parametrize(("text", "key"), ZONE_NAMES.items())
def test_a_zone_is_found_by_its_name(text: str, key: str) -> None:
    found = zone(text)
    assert found is not None
    assert found.key == key


NO_ZONES = ["", " ", "(GMT-05:00) Eastern Time", "Eastern", "GMT-05:00", "UTC+1", "-05:00", "America", "America/",
            "/America/New_York", "Europe/Madrid/", "../../etc/passwd", "Europe/../Europe/Madrid", "/etc/localtime",
            "localtime", "Factory", "posixrules", "right/Europe/Madrid", "posix/Europe/Madrid", "zone.tab", "tzdata.zi",
            "__init__.py", "Europe/__init__.py", "Europe\\Madrid", "Europe/Madrid\0", "\0", "\ud800", "Europe/Madríd",
            "account", "lead", "Europe/Madrid" * 800, "é" * 10_000, "../" * 5_000]  # fmt: skip


@pytest.mark.parametrize("text", NO_ZONES, ids=lambda text: ascii(text[:30]))
def test_what_is_no_zone_is_none(text: str) -> None:
    assert zone(text) is None


@quick
@given(st.text(st.characters(exclude_categories=())) | st.text("./EuropMadi\0\\~-+_", max_size=40))
def test_no_text_upsets_the_search_for_a_zone(text: str) -> None:
    found = zone(text)
    assert found is None or found.key in ZONES
