"""What tables are made of, and where they are all known."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, MetaData, PrimaryKeyConstraint, Table, Text, text

metadata = MetaData()


def table(name: str, *columns: Column[Any] | Index, key: tuple[str, ...]) -> Table:
    """A table clustered by its key where the engine can do that."""
    return Table(name, metadata, *columns, PrimaryKeyConstraint(*key), sqlite_with_rowid=False)


def number(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null, autoincrement=False)


def words(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


def flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def unique_names(table: str) -> Index:
    """No two of an account have the same name, unless they were deleted."""
    alive = text("deleted_at IS NULL")
    name = f"{table}_name"
    return Index(name, "account_id", "name_key", unique=True, sqlite_where=alive, postgresql_where=alive)
