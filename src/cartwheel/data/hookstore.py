"""Endpoints and their deliveries: claimed, settled, looked through, tried again, forgotten."""

import base64
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel.data import catalogchanges, schema
from cartwheel.data.db import Database
from cartwheel.data.hookfeed import DELIVERED, PARKED, QUEUED
from cartwheel.data.hooktables import HOOK_NOT_TAKEN, HOOK_PARKED, HOOK_TAKEN, HOOK_WAITS
from cartwheel.hooks.outbound import Endpoint
from cartwheel.phrases import form
from cartwheel.times import from_micros, moment_or_none, to_micros

DELIVERED_KEPT = timedelta(days=7)
"""How long the log holds what was delivered."""

KEPT = timedelta(days=30)
"""How long it holds the rest, be it parked or waiting for a pause to end; and by when an endpoint's deletion is final."""

MOST_FORGOTTEN = 1000

GIVEN_UP_AFTER = timedelta(days=3)
"""An endpoint that took nothing for so long is dead, and paused."""

DEAD = form("it has taken nothing for three days")
"""Why it was paused, if nobody did it."""

_ENDS, _ROWS = schema.hook_endpoints, schema.hook_deliveries

Key = tuple[int, int, int, int]
"""(account, lead, number, endpoint) of a delivery"""

_KEY = (_ROWS.c.account_id, _ROWS.c.lead_id, _ROWS.c.id, _ROWS.c.endpoint)

# -- endpoints --


def new_secret() -> str:
    """What deliveries are signed with, in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def values_of(endpoint: Endpoint) -> dict[str, Any]:
    """The columns that people set."""
    return {
        "name": endpoint.name,
        "url": endpoint.url,
        "enabled": endpoint.enabled,
        "events": json.dumps(dict(endpoint.events)),
        "score": endpoint.score,
        "numbers_as_strings": endpoint.numbers_as_strings,
        "not_from": json.dumps(list(endpoint.not_from)),
        "secret": endpoint.secret,
    }


NEW = {"failing_since": None, "paused_at": None, "paused_why": "", "deleted_at": None}
"""The columns of a new endpoint that nobody sets."""


def add(connection: sa.Connection, account_id: int, endpoint: Endpoint, now: datetime) -> int:
    """Returns its number. Raises `NameTaken`."""
    values = values_of(endpoint)
    return catalogchanges.add_named(connection, _ENDS, account_id, values.pop("name"), now, **values, **NEW)


def change(connection: sa.Connection, account_id: int, endpoint: Endpoint) -> None:
    """Raises `NameTaken`."""
    values = values_of(endpoint)
    catalogchanges.rename(connection, _ENDS, account_id, endpoint.id, values.pop("name"), **values)


class Health(NamedTuple):
    """How an endpoint does. The counts stop at `MOST_COUNTED`."""

    failing_since: datetime | None
    paused_at: datetime | None
    paused_why: str
    waiting: int
    parked: int


MOST_COUNTED = 1000


def health(connection: sa.Connection, account_id: int) -> dict[int, Health]:
    """By endpoint."""
    query = sa.select(_ENDS).where(_ENDS.c.account_id == account_id, _ENDS.c.deleted_at.is_(None))
    return {
        row.id: Health(
            moment_or_none(row.failing_since),
            moment_or_none(row.paused_at),
            row.paused_why,
            _counted(connection, account_id, row.id, HOOK_WAITS),
            _counted(connection, account_id, row.id, HOOK_PARKED),
        )
        for row in connection.execute(query)
    }


def _counted(connection: sa.Connection, account_id: int, endpoint: int, which: Any) -> int:
    near = sa.select(_ROWS.c.id).where(_ROWS.c.account_id == account_id, _ROWS.c.endpoint == endpoint, which)
    query = sa.select(sa.func.count()).select_from(near.limit(MOST_COUNTED).subquery())
    return int(connection.execute(query).scalar_one())


def in_need(connection: sa.Connection, account_id: int) -> list[tuple[int, str, bool]]:
    """Those that wait for somebody to resume them, and those whose other side fails: number, name, whether it is paused."""
    trouble = _ENDS.c.paused_at.is_not(None) | _ENDS.c.failing_since.is_not(None)
    here = (_ENDS.c.account_id == account_id) & _ENDS.c.deleted_at.is_(None) & _ENDS.c.enabled & trouble
    query = sa.select(_ENDS.c.id, _ENDS.c.name, _ENDS.c.paused_at).where(here).order_by(_ENDS.c.id)
    return [(row.id, row.name, row.paused_at is not None) for row in connection.execute(query)]


def pause(connection: sa.Connection, account_id: int, number: int, now: datetime, why: str = "") -> bool:
    """From now on its deliveries wait; whether that is a change."""
    here = (_ENDS.c.account_id == account_id) & (_ENDS.c.id == number) & _ENDS.c.paused_at.is_(None)
    values = {"paused_at": to_micros(now), "paused_why": why}
    return connection.execute(sa.update(_ENDS).where(here).values(values)).rowcount == 1


def resume(connection: sa.Connection, account_id: int, number: int, now: datetime) -> bool:
    """All that waits is due at once; whether it was paused."""
    here = (_ENDS.c.account_id == account_id) & (_ENDS.c.id == number) & _ENDS.c.paused_at.is_not(None)
    values = {"paused_at": None, "paused_why": "", "failing_since": None}
    if connection.execute(sa.update(_ENDS).where(here).values(values)).rowcount == 0:
        return False
    waiting = (_ROWS.c.account_id == account_id) & (_ROWS.c.endpoint == number) & HOOK_WAITS
    connection.execute(sa.update(_ROWS).where(waiting).values(next_at=to_micros(now)))
    return True


# -- at work --


class Target(NamedTuple):
    """An endpoint that has something to be tried now."""

    account_id: int
    endpoint: int
    url: str
    secret: str


class Claim(NamedTuple):
    """A delivery that the process has taken, for the `attempt`th time, until its lease ends."""

    key: Key
    body: str
    attempt: int


class Settled(NamedTuple):
    """What came of a claim. `next_at` is when it is tried again; None if it is delivered, or parked."""

    claim: Claim
    delivered: bool
    next_at: datetime | None
    status: int | None
    answer: str
    trouble: str
    micros: int


def targets(connection: sa.Connection, now: datetime) -> list[Target]:
    """The endpoints that are not paused, and have something due."""
    due = sa.exists().where(
        _ROWS.c.account_id == _ENDS.c.account_id, _ROWS.c.endpoint == _ENDS.c.id, _ROWS.c.next_at <= to_micros(now)
    )
    working = _ENDS.c.paused_at.is_(None) & _ENDS.c.deleted_at.is_(None) & _ENDS.c.enabled
    columns = (_ENDS.c.account_id, _ENDS.c.id, _ENDS.c.url, _ENDS.c.secret)
    return [Target(*row) for row in connection.execute(sa.select(*columns).where(working, due))]


def claim(
    connection: sa.Connection, wanted: Iterable[tuple[Target, int]], now: datetime, lease: timedelta
) -> list[tuple[Target, Claim]]:
    """Take so many of each target's deliveries that are due, those waiting longest first, each lead's oldest only."""
    claimed = []
    earlier = _ROWS.alias("earlier")
    for target, most in wanted:
        first_of_lead = ~sa.exists().where(
            earlier.c.account_id == target.account_id,
            earlier.c.endpoint == target.endpoint,
            earlier.c.lead_id == _ROWS.c.lead_id,
            earlier.c.id < _ROWS.c.id,
            earlier.c.next_at.is_not(None),
        )
        of_target = (_ROWS.c.account_id == target.account_id) & (_ROWS.c.endpoint == target.endpoint)
        due = (
            sa.select(_ROWS.c.lead_id, _ROWS.c.id)
            .where(of_target, _ROWS.c.next_at <= to_micros(now), first_of_lead)
            .order_by(_ROWS.c.next_at, _ROWS.c.id)
            .limit(most)
            .with_for_update(skip_locked=True)
            .cte("due")  # which PostgreSQL evaluates once: a subquery it may run for each row, with its limit anew
        )
        taking = (
            sa.update(_ROWS)
            .where(of_target, sa.tuple_(_ROWS.c.lead_id, _ROWS.c.id).in_(sa.select(due)))
            .values(next_at=to_micros(now + lease), attempts=_ROWS.c.attempts + 1, tried_at=to_micros(now))
            .returning(*_KEY, _ROWS.c.body, _ROWS.c.attempts)
        )
        rows = sorted(connection.execute(taking), key=lambda row: row.id)
        claimed += [(target, Claim(tuple(row[:4]), row.body, row.attempts)) for row in rows]
    return claimed


_SETTLE = (
    sa.update(_ROWS)
    .where(*(column == sa.bindparam(f"k_{column.name}") for column in _KEY))
    .where(_ROWS.c.attempts == sa.bindparam("k_attempt"), _ROWS.c.next_at.is_not(None))
    .values(
        {
            name: sa.bindparam(f"v_{name}")
            for name in ("state", "next_at", "status", "answer", "trouble", "micros")
        }
    )
)  # fmt: skip
_LATER = (
    (_ROWS.c.account_id == sa.bindparam("k_account_id"))
    & (_ROWS.c.endpoint == sa.bindparam("k_endpoint"))
    & (_ROWS.c.lead_id == sa.bindparam("k_lead_id"))
    & (_ROWS.c.id > sa.bindparam("k_id"))
    & _ROWS.c.next_at.is_not(None)
)
_AT = sa.bindparam("v_at", type_=sa.BigInteger)
_HOLD_LATER = sa.update(_ROWS).where(_LATER, _ROWS.c.next_at < _AT).values(next_at=_AT)
_FREE_LATER = sa.update(_ROWS).where(_LATER, _ROWS.c.next_at > _AT).values(next_at=_AT)


def settle(connection: sa.Connection, results: Sequence[Settled], now: datetime) -> list[tuple[int, int]]:
    """Store what came of these. Of a claim that another process has made since, nothing is stored.

    What comes after it for the same lead waits as long as it does. Returns the endpoints that turned out to be dead.
    """
    keyed = [(each, _key(each.claim)) for each in results]
    connection.execute(_SETTLE, [key | _stored(each) for each, key in keyed])
    holding = [key | {"v_at": to_micros(each.next_at)} for each, key in keyed if each.next_at is not None]
    freeing = [
        key | {"v_at": to_micros(now)}
        for each, key in keyed
        if each.next_at is None and (each.claim.attempt > 1 or not each.delivered)
    ]
    for statement, rows in ((_HOLD_LATER, holding), (_FREE_LATER, freeing)):
        if rows:
            connection.execute(statement, rows)
    return _note_health(connection, results, now)


_GIVE_BACK = (
    sa.update(_ROWS)
    .where(*(column == sa.bindparam(f"k_{column.name}") for column in _KEY))
    .where(_ROWS.c.attempts == sa.bindparam("k_attempt"), _ROWS.c.next_at.is_not(None))
    .values(next_at=_AT, attempts=_ROWS.c.attempts - 1)
)


def give_back(connection: sa.Connection, claims: Sequence[Claim], now: datetime) -> None:
    """They were taken, and not tried."""
    connection.execute(
        _GIVE_BACK, [_key(claim) | {"k_attempt": claim.attempt, "v_at": to_micros(now)} for claim in claims]
    )


def _key(claim: Claim) -> dict[str, int]:
    return {f"k_{column.name}": part for column, part in zip(_KEY, claim.key, strict=True)}


def _stored(each: Settled) -> dict[str, Any]:
    state = DELIVERED if each.delivered else PARKED if each.next_at is None else QUEUED
    return {
        "k_attempt": each.claim.attempt,
        "v_state": state,
        "v_next_at": None if each.next_at is None else to_micros(each.next_at),
        "v_status": each.status,
        "v_answer": each.answer,
        "v_trouble": each.trouble,
        "v_micros": each.micros,
    }


def _note_health(connection: sa.Connection, results: Sequence[Settled], now: datetime) -> list[tuple[int, int]]:
    well: dict[tuple[int, int], bool] = {}
    for each in results:
        place = (each.claim.key[0], each.claim.key[3])
        well[place] = well.get(place, False) or each.delivered
    dead = []
    for (account_id, number), taken in sorted(well.items()):
        here = (_ENDS.c.account_id == account_id) & (_ENDS.c.id == number)
        if taken:
            failed = here & _ENDS.c.failing_since.is_not(None)
            connection.execute(sa.update(_ENDS).where(failed).values(failing_since=None))
            continue
        begins = here & _ENDS.c.failing_since.is_(None)
        connection.execute(sa.update(_ENDS).where(begins).values(failing_since=to_micros(now)))
        long = here & (_ENDS.c.failing_since <= to_micros(now - GIVEN_UP_AFTER))
        if connection.execute(sa.select(_ENDS.c.id).where(long)).first() and pause(
            connection, account_id, number, now, DEAD
        ):
            dead.append((account_id, number))
    return dead


# -- by hand --


def replay(connection: sa.Connection, account_id: int, numbers: Sequence[tuple[int, int, int]], now: datetime) -> int:
    """Have these (lead, number, endpoint) tried again from the beginning, unless they wait still; returns how many."""
    same = sa.tuple_(_ROWS.c.lead_id, _ROWS.c.id, _ROWS.c.endpoint).in_(numbers)
    here = (_ROWS.c.account_id == account_id) & same & _ROWS.c.next_at.is_(None)
    return connection.execute(sa.update(_ROWS).where(here).values(_again(now))).rowcount


def replay_parked(connection: sa.Connection, account_id: int, endpoint: int, now: datetime) -> int:
    """Have all that are parked tried again; returns how many."""
    here = (_ROWS.c.account_id == account_id) & (_ROWS.c.endpoint == endpoint) & HOOK_PARKED
    return connection.execute(sa.update(_ROWS).where(here).values(_again(now))).rowcount


def _again(now: datetime) -> dict[str, Any]:
    return {"state": QUEUED, "next_at": to_micros(now), "attempts": 0}


def queue(connection: sa.Connection, key: Key, action: str, body: str, now: datetime) -> None:
    """A delivery that no event has caused: a test."""
    row: dict[str, Any] = dict(zip((column.name for column in _KEY), key, strict=True))
    row |= {"action": action, "body": body, "state": QUEUED, "answer": "", "trouble": "", "attempts": 0}
    connection.execute(sa.insert(_ROWS).values(row | {"queued_at": to_micros(now), "next_at": to_micros(now)}))


# -- looking --


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of the log."""

    lead_id: int
    id: int
    endpoint: int
    action: str
    body: str
    state: str
    queued_at: datetime
    next_at: datetime | None
    attempts: int
    tried_at: datetime | None
    micros: int | None
    status: int | None
    answer: str
    trouble: str

    @property
    def token(self) -> str:
        """How people name it, within its endpoint."""
        return f"{self.lead_id}-{self.id}"


def read_token(token: str) -> tuple[int, int] | None:
    """(lead, number) of a delivery's token, which may be nonsense."""
    lead, _, number = token.partition("-")
    if not all(part.isascii() and part.isdigit() and len(part) < 18 for part in (lead, number)):  # noqa: PLR2004 - of a BIGINT
        return None
    return int(lead), int(number)


@dataclass(frozen=True, slots=True)
class Wish:
    """Which deliveries somebody wants to see."""

    state: str = ""
    action: str = ""
    lead_id: int | None = None


MOST_SCANNED = 5000
"""Rows that are looked at for one page."""


class Found(NamedTuple):
    """`after` is where the next page begins."""

    rows: list[Delivery]
    after: tuple[int, int] | None


def page(
    connection: sa.Connection, account_id: int, endpoint: int, wish: Wish, *, after: tuple[int, int] | None, most: int
) -> Found:
    """The newest deliveries that are as wished, after this (number, lead)."""
    indexed: list[Any] = [_ROWS.c.account_id == account_id, _ROWS.c.endpoint == endpoint]
    rest: list[Any] = [] if not wish.action else [_ROWS.c.action == wish.action]
    if wish.state == PARKED:
        indexed.append(HOOK_PARKED)
    elif wish.state == QUEUED:
        indexed.append(HOOK_WAITS)
    elif wish.state:
        rest.append(_ROWS.c.state == wish.state)
    if wish.lead_id is not None:
        indexed.append(_ROWS.c.lead_id == wish.lead_id)
    place = sa.tuple_(_ROWS.c.id, _ROWS.c.lead_id)
    if after is not None:
        indexed.append(place < sa.tuple_(*map(sa.literal, after)))
    down = (_ROWS.c.id.desc(), _ROWS.c.lead_id.desc())
    bound = MOST_SCANNED if rest else most + 1
    near = sa.select(_ROWS).where(*indexed).order_by(*down).limit(bound).subquery()
    passed = [near.c[condition.left.name] == condition.right for condition in rest]
    order = (near.c.id.desc(), near.c.lead_id.desc())
    found = [_delivery(row) for row in connection.execute(sa.select(near).where(*passed).order_by(*order))]
    if len(found) > most:
        return Found(found[:most], (found[most - 1].id, found[most - 1].lead_id))
    if rest:
        looked_at = sa.select(sa.func.count(), sa.func.min(near.c.id))
        number, last = connection.execute(looked_at).one()
        if number >= bound:
            return Found(found, (last, 0))
    return Found(found, None)


def one(connection: sa.Connection, account_id: int, endpoint: int, place: tuple[int, int]) -> Delivery | None:
    query = sa.select(_ROWS).filter_by(account_id=account_id, endpoint=endpoint, lead_id=place[0], id=place[1])
    row = connection.execute(query).first()
    return None if row is None else _delivery(row)


def _delivery(row: Any) -> Delivery:
    return Delivery(
        row.lead_id,
        row.id,
        row.endpoint,
        row.action,
        row.body,
        row.state,
        from_micros(row.queued_at),
        moment_or_none(row.next_at),
        row.attempts,
        moment_or_none(row.tried_at),
        row.micros,
        row.status,
        row.answer,
        row.trouble,
    )


# -- forgetting --


def forget(database: Database, now: datetime) -> int:
    """Away with what was kept long enough, a few at a time; returns how many."""
    forgotten = 0
    for which, kept in ((HOOK_TAKEN, DELIVERED_KEPT), (HOOK_NOT_TAKEN, KEPT)):
        old = sa.select(*_KEY).where(which, _ROWS.c.queued_at < to_micros(now - kept)).limit(MOST_FORGOTTEN)
        with database.read() as connection:
            if connection.execute(old.limit(1)).first() is None:
                continue
        with database.write() as connection:
            free = old.with_for_update(skip_locked=True)  # another process may be at it
            forgotten += connection.execute(sa.delete(_ROWS).where(sa.tuple_(*_KEY).in_(free))).rowcount
    return forgotten
