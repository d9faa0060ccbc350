"""What takes long is counted once in a while; what is old is counted anew."""

from datetime import UTC, datetime, timedelta

from cartwheel.ui.remembered import FRESH, Remembered

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_what_was_counted_is_shown_until_it_is_old() -> None:
    remembered, numbers = Remembered(), iter(range(10))
    shown = [remembered.get("runs", NOW + after, lambda: next(numbers)) for after in (timedelta(), FRESH, FRESH * 3)]
    assert shown == [0, 0, 1]


def test_each_thing_has_its_own_number() -> None:
    remembered = Remembered()
    counted = [remembered.get(("runs", account), NOW, iter([account]).__next__) for account in (1, 2, 1)]
    assert counted == [1, 2, 1]
