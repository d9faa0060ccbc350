"""Exports as streams of bytes: one look at the database, from the first line to the last."""

from collections.abc import Iterable, Iterator

from cartwheel.accounts import Account
from cartwheel.data import exportstore, wholeleads
from cartwheel.data.db import Database
from cartwheel.data.leadconditions import Question
from cartwheel.data.mailledger import Wish
from cartwheel.exports import records, writers
from cartwheel.exports.formats import Format
from cartwheel.exports.records import Record


def leads(database: Database, question: Question, form: Format, *, raw: bool = False) -> Iterator[bytes]:
    account = question.account

    with database.snapshot() as connection:
        found = (records.of_lead(lead, account) for lead in exportstore.leads(connection, question))
        yield from writers.written(found, records.lead_columns(account), form, raw=raw)


def events(database: Database, question: Question, form: Format, *, raw: bool = False) -> Iterator[bytes]:
    with database.snapshot() as connection:
        found = (records.of_event(event, question.account) for event in exportstore.events(connection, question))
        yield from writers.written(found, records.EVENT, form, raw=raw)


def messages(database: Database, account: Account, wish: Wish, form: Format, *, raw: bool = False) -> Iterator[bytes]:
    with database.snapshot() as connection:
        found: Iterable[Record] = (
            records.of_mail(mail, account) for mail in exportstore.mails(connection, account.id, wish)
        )
        yield from writers.written(found, records.MAIL, form, raw=raw)


def whole(database: Database, account: Account) -> Iterator[bytes]:
    """Everything of all leads, for another installation."""
    with database.snapshot() as connection:
        yield from wholeleads.lines(connection, account)
