"""What the verbs of the command line work with: the database, the account, the lead, a piece of work."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from cartwheel import times
from cartwheel.accounts import Account, Sequence, name_key
from cartwheel.config import Settings
from cartwheel.data import catalog
from cartwheel.data.catalog import Catalog
from cartwheel.data.db import Database
from cartwheel.data.leadstore import LeadKey
from cartwheel.errors import NoSuchName, Unavailable
from cartwheel.views import leadcard

if TYPE_CHECKING:
    from cartwheel.work.batches import Batches, Work

T = TypeVar("T")


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


@contextmanager
def opened(account: str | None) -> Iterator[tuple[Database, Account]]:
    """The database, and the account of this name, or the only one."""
    with open_database() as database:
        yield database, find_account(load_catalog(database), account)


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


def find_sequence(account: Account, name: str) -> Sequence:
    found = account.sequences.get(name_key(name))
    if found is None:
        names = ", ".join(account.sequence_names.values()) or "none"
        raise NoSuchName(f"the account {account.name} has no sequence {name}; there are: {names}")
    return found


def find_lead(database: Database, account: Account, lead: str) -> LeadKey:
    """The lead of this e-mail address or id."""
    found = leadcard.find(database, account, lead)
    if found is None:
        raise NoSuchName(f"the account {account.name} has no lead {lead}")
    return found


def submit(database: Database, work: "Work[T]") -> T:
    """One piece of work, through the batches like any other."""
    return with_batches(database, lambda batches: batches.submit(work))


def with_batches(database: Database, use: "Callable[[Batches], Awaitable[T]]") -> T:
    """What comes of batches that submit one piece of work at a time."""
    from cartwheel.work.batches import Batches

    async def run() -> T:
        batches = Batches(database, clock=times.now, most_waiting=1)
        await batches.start()
        try:
            return await use(batches)
        finally:
            await batches.stop()

    return asyncio.run(run())
