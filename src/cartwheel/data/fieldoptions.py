"""The options of custom fields, as the owner changes them one by one."""

from collections.abc import Iterable, Sequence
from itertools import count

import sqlalchemy as sa

from cartwheel.data import catalog, schema

LARGEST_NUMBER = 1 << 53
"""Of an option: what every program can read in JSON."""

_OPTIONS = schema.custom_field_options


def add(connection: sa.Connection, account_id: int, field_id: int, names: Sequence[str]) -> None:
    """Below those that the field has."""
    if names:
        _insert(connection, account_id, field_id, enumerate(names, catalog.next_id(connection, _OPTIONS, account_id)))


def add_numbered(connection: sa.Connection, account_id: int, field_id: int, options: Iterable[tuple[int, str]]) -> None:
    """Below those that the field has, each under its own number if no option of the account has that."""
    taken = set(connection.execute(sa.select(_OPTIONS.c.id).where(_OPTIONS.c.account_id == account_id)).scalars())
    options = list(options)
    free = count(1 + max([0, *taken, *(number for number, _ in options if number <= LARGEST_NUMBER)]))
    numbered = []
    for number, name in options:
        own = number if 0 < number <= LARGEST_NUMBER and number not in taken else next(free)
        taken.add(own)
        numbered.append((own, name))
    _insert(connection, account_id, field_id, numbered)


def _insert(connection: sa.Connection, account_id: int, field_id: int, options: Iterable[tuple[int, str]]) -> None:
    mine = (_OPTIONS.c.account_id == account_id) & (_OPTIONS.c.field_id == field_id)
    query = sa.select(sa.func.coalesce(sa.func.max(_OPTIONS.c.position), -1)).where(mine)
    position = int(connection.execute(query).scalar_one()) + 1
    rows = [
        {"account_id": account_id, "id": number, "field_id": field_id, "name": name, "position": position + offset}
        for offset, (number, name) in enumerate(options)
    ]
    if rows:
        connection.execute(sa.insert(_OPTIONS), rows)


def put(connection: sa.Connection, account_id: int, options: Iterable[tuple[int, str]]) -> None:
    """Give the options of a field, all of them, these names and this order."""
    for position, (number, name) in enumerate(options):
        here = (_OPTIONS.c.account_id == account_id) & (_OPTIONS.c.id == number)
        connection.execute(sa.update(_OPTIONS).where(here).values(name=name, position=position))
