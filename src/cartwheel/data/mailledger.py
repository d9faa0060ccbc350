"""The ledger of mail as people look through it: newest first, page by page, whatever they ask for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.mailstore import MAIL_COLUMNS, Listed, mail_of
from cartwheel.leads.mails import MailState
from cartwheel.times import to_micros

MOST_SCANNED = 5000
"""Mails that are looked at for one page, where no index holds just what was asked for."""

MOST_LEADS = 500
"""With so few leads of an address, their mails are found by them."""

_MAILS, _LEADS = schema.mails, schema.leads

Place = tuple[int, int]
"""(number, lead) of a mail: newest first is from the highest down."""


@dataclass(frozen=True)
class Wish:
    """Which mails somebody wants to see. `seen` is `opened`, `clicked` or `unopened`."""

    state: MailState | None = None
    sequence_id: int | None = None
    box: str = ""
    server: str = ""
    address: str = ""
    """How the address begins."""
    since: datetime | None = None
    until: datetime | None = None
    seen: str = ""


class Found(NamedTuple):
    """`after` is where the next page begins; `more` says that there may be some that were not looked at yet."""

    mails: list[Listed]
    after: Place | None
    more: bool


def page(connection: sa.Connection, account_id: int, wish: Wish, *, after: Place | None, most: int) -> Found:
    """The newest mails that are as wished, after the place."""
    leads = _leads(connection, account_id, wish.address) if wish.address else None
    place = (_MAILS.c.id, _MAILS.c.lead_id)
    indexed = [_MAILS.c.account_id == account_id, *_span(wish)]
    if after is not None:
        indexed.append(sa.tuple_(*place) < after)
    rest = list(_rest(wish))
    if leads is not None:
        indexed.append(_MAILS.c.lead_id.in_(leads))
        indexed += [*rest, *_by_state(wish), *_by_sequence(wish)]
        rest = []
    elif wish.state not in {None, MailState.ACCEPTED}:
        indexed += _by_state(wish)
        rest += _by_sequence(wish)
    else:
        indexed += _by_sequence(wish)
        rest += _by_state(wish)
    if wish.address and leads is None:
        rest.append(starts(connection, _LEADS.c.email, wish.address))
    down = [column.desc() for column in place]
    bound = MOST_SCANNED if rest else most + 1
    near = sa.select(*place).where(*indexed).order_by(*down).limit(bound).subquery("near")
    same = (_MAILS.c.account_id == account_id) & (_MAILS.c.id == near.c.id) & (_MAILS.c.lead_id == near.c.lead_id)
    of_lead = (_LEADS.c.account_id == account_id) & (_LEADS.c.id == near.c.lead_id)
    query = (
        sa.select(_MAILS.c.lead_id, _LEADS.c.email, *(_MAILS.c[name] for name in MAIL_COLUMNS))
        .select_from(near.join(_MAILS, same).join(_LEADS, of_lead))
        .where(*rest)
        .order_by(*down)
        .limit(most + 1)
    )
    rows = [Listed(row[0], row[1], mail_of(row[2:])) for row in connection.execute(query)]
    if len(rows) > most:
        last = rows[most - 1]
        return Found(rows[:most], (last.mail.key, last.lead_id), more=False)
    return Found(rows, _end(connection, near, bound) if rest else None, more=bool(rest))


def _end(connection: sa.Connection, near: Any, bound: int) -> Place | None:
    """The last one that was looked at, if there may be others behind it."""
    if connection.execute(sa.select(sa.func.count()).select_from(near)).scalar_one() < bound:
        return None
    number, lead_id = connection.execute(sa.select(near).order_by(near.c.id, near.c.lead_id).limit(1)).one()
    return number, lead_id


def _span(wish: Wish) -> list[sa.ColumnElement[bool]]:
    """A mail's number is the time at which it was queued, or hardly later."""
    span = []
    if wish.since is not None:
        span.append(_MAILS.c.id >= to_micros(wish.since))
    if wish.until is not None:
        span.append(_MAILS.c.id < to_micros(wish.until))
    return span


def _by_state(wish: Wish) -> list[Any]:
    if wish.state is None:
        return []
    told = [schema.NOT_ACCEPTED] if wish.state is not MailState.ACCEPTED else []
    return [_MAILS.c.state == wish.state.value, *told]


def _by_sequence(wish: Wish) -> list[Any]:
    return [] if wish.sequence_id is None else [_MAILS.c.sequence_id == wish.sequence_id]


def _rest(wish: Wish) -> list[Any]:
    """What no index knows."""
    seen = {
        "opened": _MAILS.c.opened_at.is_not(None),
        "clicked": _MAILS.c.clicked_at.is_not(None),
        "unopened": _MAILS.c.opened_at.is_(None) & _MAILS.c.sent_at.is_not(None),
    }
    rest: list[Any] = [seen[wish.seen]] if wish.seen else []
    told = {_MAILS.c.server: wish.server, _MAILS.c.box: wish.box}
    return [*rest, *(column == value for column, value in told.items() if value)]


def starts(connection: sa.Connection, column: Any, prefix: str) -> sa.ColumnElement[bool]:
    """That an address begins so, said so that SQLite takes the index on it."""
    like: sa.ColumnElement[bool] = column.startswith(prefix, autoescape=True)
    if connection.dialect.name == "sqlite":
        return sa.and_(column >= prefix, column < prefix + "\U0010ffff", like)
    return like


def _leads(connection: sa.Connection, account_id: int, prefix: str) -> Sequence[int] | None:
    """Whose address begins so; None if those are many."""
    here = (_LEADS.c.account_id == account_id) & starts(connection, _LEADS.c.email, prefix)
    found = list(connection.execute(sa.select(_LEADS.c.id).where(here).limit(MOST_LEADS + 1)).scalars())
    return found if len(found) <= MOST_LEADS else None


def counted(connection: sa.Connection, account_id: int, state: MailState, most: int) -> int:
    """How many are in a state that is not that of most, up to so many."""
    here = (_MAILS.c.account_id == account_id) & (_MAILS.c.state == state.value)
    near = sa.select(_MAILS.c.id).where(here, schema.NOT_ACCEPTED).limit(most).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(near)).scalar_one())


def in_trouble(connection: sa.Connection, account_id: int, most: int) -> int:
    """How many of the oldest that are queued were tried in vain so far."""
    here = (_MAILS.c.account_id == account_id) & (_MAILS.c.state == MailState.QUEUED.value)
    near = sa.select(_MAILS.c.trouble_since).where(here, schema.NOT_ACCEPTED).order_by(_MAILS.c.id).limit(most)
    tried = near.subquery()
    found = sa.select(sa.func.count()).select_from(tried).where(tried.c.trouble_since.is_not(None))
    return int(connection.execute(found).scalar_one())
