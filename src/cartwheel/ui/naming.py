"""What the pages of lists, tags, custom fields and automations share: finding them, deleting them, and taking that back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import sqlalchemy as sa

from cartwheel.accountfiles import uses
from cartwheel.accountfiles.uses import Use
from cartwheel.accounts import LONGEST_NAME, Automation, CustomField, MailingList, Tag, name_key
from cartwheel.data import bygones, catalogchanges, schema
from cartwheel.data.bygones import Bygone
from cartwheel.ui.visits import NotThere, Undo, Visit

N = TypeVar("N", MailingList, Tag, CustomField, Automation)

PAGE = 100
"""Rows of a page."""

MOST_BYGONES = 50

_TABLES: Mapping[type, sa.Table] = {
    MailingList: schema.lists,
    Tag: schema.tags,
    CustomField: schema.custom_fields,
    Automation: schema.automations,
}


@dataclass(frozen=True, slots=True)
class Found(Generic[N]):
    """The rows of a page, by name; `after` leads to the next ones."""

    rows: Sequence[N]
    after: str
    any: bool
    """Whether there are some at all, whatever was looked for."""


def find(visit: Visit, entries: Iterable[N]) -> Found[N]:
    """Those whose names have all words of the query's `q`, from after the name in `after` on."""
    sought, after = name_key(visit.query.get("q", "")[:LONGEST_NAME]).split(), visit.query.get("after", "")
    by_name = {name_key(entry.name): entry for entry in entries}
    hits = [by_name[key] for key in sorted(by_name) if key > after and all(word in key for word in sought)]
    last = name_key(hits[PAGE - 1].name) if len(hits) > PAGE else ""
    return Found(hits[:PAGE], last, any=bool(by_name))


def numbered(visit: Visit, entries: Iterable[N]) -> N:
    """The one that the page's address names. Raises `NotThere` for one that this account does not have."""
    for entry in entries:
        if entry.id == visit.path["number"]:
            return entry
    raise NotThere


def differs(entry: MailingList | Tag | CustomField, name: str) -> bool:
    """Whether it would be found by another name."""
    return name_key(name) != name_key(entry.name)


def users_of(visit: Visit, entry: MailingList | Tag | CustomField) -> list[Use]:
    """The steps that would fail without it, or under another name."""
    with visit.database.read() as connection:
        return uses.of(connection, visit.account, entry)


def delete(visit: Visit, entry: MailingList | Tag | CustomField | Automation) -> Undo:
    """Returns the way back."""
    with catalogchanges.changing(visit.database, visit.account.id) as connection:
        bygones.delete(connection, _TABLES[type(entry)], visit.account.id, entry.id, visit.now)
    visit.about(entry.name)
    return Undo(f"{visit.url.removesuffix('/delete')}/restore")


def restore(visit: Visit, kind: type[MailingList | Tag | CustomField | Automation]) -> Bygone:
    """Take back the deletion of the one that the page's address names. Raises `NotThere` or `NameTaken`."""
    for bygone in bygone_of(visit, kind):
        if bygone.id == visit.path["number"]:
            with catalogchanges.changing(visit.database, visit.account.id) as connection:
                bygones.restore(connection, _TABLES[kind], visit.account.id, bygone)
            visit.about(bygone.name)
            return bygone
    raise NotThere


def bygone_of(visit: Visit, kind: type[MailingList | Tag | CustomField | Automation]) -> Sequence[Bygone]:
    """What can be taken back, the last first."""
    with visit.database.read() as connection:
        return bygones.those_of(connection, _TABLES[kind], visit.account.id, visit.now, MOST_BYGONES)


def too_long(visit: Visit, **texts: str) -> dict[str, str]:
    """What to tell of those that are too long, by the names of their fields."""
    told = visit._("At most %d characters, please.") % LONGEST_NAME
    return {name: told for name, text in texts.items() if len(text) > LONGEST_NAME}
