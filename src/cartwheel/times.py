"""Between aware datetimes, which the program uses, and microseconds since 1970, which the database holds."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now() -> datetime:
    """The clock that the edges hand to everything else."""
    return datetime.now(UTC)


def to_micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def micros_or_none(at: datetime | None) -> int | None:
    return None if at is None else to_micros(at)


def moment_or_none(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
