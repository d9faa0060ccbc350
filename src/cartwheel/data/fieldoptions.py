"""The options of custom fields, as the owner changes them one by one."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from cartwheel.data import catalog, schema

_OPTIONS = schema.custom_field_options


def add(connection: sa.Connection, account_id: int, field_id: int, names: Sequence[str]) -> None:
    """Below those that the field has."""
    if not names:
        return
    mine = (_OPTIONS.c.account_id == account_id) & (_OPTIONS.c.field_id == field_id)
    query = sa.select(sa.func.coalesce(sa.func.max(_OPTIONS.c.position), -1)).where(mine)
    position = int(connection.execute(query).scalar_one()) + 1
    number = catalog.next_id(connection, _OPTIONS, account_id)
    rows = [
        {
            "account_id": account_id,
            "id": number + offset,
            "field_id": field_id,
            "name": name,
            "position": position + offset,
        }
        for offset, name in enumerate(names)
    ]
    connection.execute(sa.insert(_OPTIONS), rows)


def put(connection: sa.Connection, account_id: int, options: Iterable[tuple[int, str]]) -> None:
    """Give the options of a field, all of them, these names and this order."""
    for position, (number, name) in enumerate(options):
        here = (_OPTIONS.c.account_id == account_id) & (_OPTIONS.c.id == number)
        connection.execute(sa.update(_OPTIONS).where(here).values(name=name, position=position))
