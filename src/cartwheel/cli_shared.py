"""What the verbs of the command line share: exit codes, options, opening the database, finding the account."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from cartwheel import catalog
from cartwheel.catalog import Account, Catalog
from cartwheel.config import Settings
from cartwheel.db import Database
from cartwheel.errors import NoSuchName, Unavailable

TROUBLE = 1
USAGE = 2
"""Exit codes: something is wrong; it was asked for wrongly. No traceback comes with either."""

AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON, for programs.")]
AccountName = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="The account; needless when there is only one."),
]


@contextmanager
def open_database(*, migrate: bool = False) -> Iterator[Database]:
    """The database of the settings; one that is not there, or not up to date, is only mended with `migrate`."""
    database = Database(Settings.load().database)
    try:
        if migrate:
            database.migrate()
        else:
            check_there(database)
            _, waiting = database.migrations()
            if waiting:
                raise Unavailable(f"the migration {waiting[0]} has to run first: `cartwheel migrate`")
        yield database
    finally:
        database.close()


def check_there(database: Database) -> None:
    if database.path is not None and not database.path.exists():
        raise Unavailable(f"there is no file {database.path} (CARTWHEEL_DATABASE names the database)")


def load_catalog(database: Database) -> Catalog:
    with database.read() as connection:
        return catalog.newer(connection)


def find_account(known: Catalog, name: str | None) -> Account:
    if name is not None:
        found = known.account_named(name)
        if found is None:
            raise NoSuchName(f"there is no account {name}")
        return found
    if not known.accounts:
        raise NoSuchName("there is no account yet: `cartwheel apply FILE` makes one")
    if len(known.accounts) > 1:
        names = ", ".join(sorted(account.name for account in known.accounts.values()))
        raise NoSuchName(f"there are several accounts, so name one of them: {names}")
    return next(iter(known.accounts.values()))
