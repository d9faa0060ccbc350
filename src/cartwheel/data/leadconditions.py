"""A filter for leads as SQL with parameters: one function a condition."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from functools import singledispatch
from typing import Any

import sqlalchemy as sa

from cartwheel.accounts import Account
from cartwheel.data import schema
from cartwheel.leads import filters
from cartwheel.leads.filters import EVERYBODY, Condition, Group, Search
from cartwheel.leads.leadparts import PROFILE_FIELDS, Gdpr, SuppressionReason
from cartwheel.leads.searchkeys import search_key
from cartwheel.times import to_micros

_LEADS, _TAGS, _LISTS, _FIELDS = schema.leads, schema.lead_tags, schema.lead_lists, schema.lead_fields
_RUNS, _MAILS, _SUPPRESSED = schema.enrolments, schema.mails, schema.suppressions

Where = sa.ColumnElement[bool]


class Order(StrEnum):
    """How leads are shown."""

    NEWEST = "newest"
    ADDRESS = "address"
    SCORE = "score"


@dataclass(frozen=True)
class Question:
    """Who is looked for. `postgresql` is which engine is asked."""

    account: Account
    tree: Group
    search: Search
    order: Order
    postgresql: bool

    @property
    def everybody(self) -> bool:
        return self.tree == EVERYBODY and not self.search.words


# -- conditions as SQL --


@singledispatch
def where_of(condition: Condition, _question: Question) -> Where:
    raise NotImplementedError(type(condition))


@where_of.register
def _(condition: filters.HasTag, question: Question) -> Where:
    return _exists(_TAGS, question, _TAGS.c.tag_id == condition.tag)


@where_of.register
def _(condition: filters.OnList, question: Question) -> Where:
    return _exists(_LISTS, question, _LISTS.c.list_id == condition.list, _LISTS.c.left_at.is_(None))


@where_of.register
def _(condition: filters.InSequence, question: Question) -> Where:
    more = [_RUNS.c.status == str(condition.status)] if condition.status else []
    more += [_RUNS.c.step == condition.step] if condition.step else []
    return _exists(_RUNS, question, _RUNS.c.sequence_id == condition.sequence, sa.text("enrolments.latest"), *more)


@where_of.register
def _(condition: filters.Score, _question: Question) -> Where:
    return _between(_LEADS.c.score, condition.at_least, condition.at_most)


@where_of.register
def _(condition: filters.Field, question: Question) -> Where:
    if condition.custom is not None:
        return _custom(condition, question)
    if condition.field not in PROFILE_FIELDS and condition.field != "email":
        return sa.false()
    column = _LEADS.c[condition.field]
    if condition.how in {"filled", "empty"}:
        return (column != "") if condition.how == "filled" else (column == "")
    if condition.how == "begins" and condition.field in INDEXED:
        return begins(question, condition.field, condition.text)
    if condition.field in _KEYS:
        return _alike(INDEXED[condition.field], condition.how, search_key(condition.text))
    return sa.or_(*(_alike(sa.func.lower(column), condition.how, way) for way in filters.spellings(condition.text)))


def _custom(condition: filters.Field, question: Question) -> Where:
    field = next((entry for entry in question.account.fields.values() if entry.id == condition.custom), None)
    if field is None:
        return sa.false()
    of = _FIELDS.c.field_id == field.id
    if condition.how == "filled":
        return _exists(_FIELDS, question, of)
    if condition.how == "empty":
        return ~_exists(_FIELDS, question, of)
    if not field.type.is_text:
        number = condition.text if condition.text.isdigit() else "0"
        forms = (f"[{number}]", f"[{number},%", f"%, {number}]", f"%, {number},%")
        return _exists(_FIELDS, question, of, sa.or_(*(_FIELDS.c.value.like(form) for form in forms)))
    ways = (json.dumps(way, ensure_ascii=False) for way in filters.spellings(condition.text))
    value = sa.func.lower(_FIELDS.c.value)
    cut = {"is": slice(None), "begins": slice(None, -1), "contains": slice(1, -1)}[condition.how]
    return _exists(_FIELDS, question, of, sa.or_(*(_alike(value, condition.how, way[cut]) for way in ways)))


def _alike(column: sa.ColumnElement[Any], how: str, text: str) -> Where:
    if how == "is":
        return column == text
    return column.startswith(text, autoescape=True) if how == "begins" else column.contains(text, autoescape=True)


@where_of.register
def _(condition: filters.Joined, question: Question) -> Where:
    return _between(_LEADS.c.created_at, *_days(condition, question.account))


def _days(condition: filters.Joined, account: Account) -> tuple[int | None, int | None]:
    """From the first moment of the one day to the last of the other."""

    def begins(day: date) -> int:
        return to_micros(datetime.combine(day, time(), account.zone))

    since = None if condition.since is None else begins(condition.since)
    last = condition.until and condition.until != date.max
    return since, begins(condition.until + timedelta(days=1)) - 1 if condition.until and last else None


@where_of.register
def _(condition: filters.MailStatus, question: Question) -> Where:
    if condition.status == "mailable":
        agreed = [_LEADS.c.gdpr_communications] if question.account.gdpr else []
        declined = _LEADS.c.gdpr_status == Gdpr.NOT_ACCEPTED.value
        return sa.and_(~_not_mailed(question), _LEADS.c.deleted_at.is_(None), ~declined, *agreed)
    return _not_mailed(question, *REASONS.get(condition.status, ()))


REASONS: Mapping[str, Sequence[SuppressionReason]] = {
    "do not contact": (SuppressionReason.DO_NOT_CONTACT,),
    "bounced": (SuppressionReason.HARD_BOUNCE, SuppressionReason.SOFT_BOUNCES),
    "complaint": (SuppressionReason.COMPLAINT,),
}


def _not_mailed(question: Question, *reasons: SuppressionReason) -> Where:
    same = (_SUPPRESSED.c.account_id == question.account.id) & (_SUPPRESSED.c.email == _LEADS.c.email)
    return sa.exists().where(same, reason_of(reasons)).correlate(_LEADS)


def reason_of(reasons: Sequence[SuppressionReason]) -> Where:
    return _SUPPRESSED.c.reason.in_([str(reason) for reason in reasons]) if reasons else _SUPPRESSED.c.reason != ""


@where_of.register
def _(condition: filters.Seen, question: Question) -> Where:
    clicked = _MAILS.c.clicked_at.is_not(None)
    seen = clicked if condition.what == "clicked" else sa.or_(_MAILS.c.opened_at.is_not(None), clicked)
    of = [_MAILS.c.sequence_id == condition.sequence] if condition.sequence else []
    return _exists(_MAILS, question, *of, seen)


@where_of.register
def _(_condition: filters.Deleted, _question: Question) -> Where:
    return _LEADS.c.deleted_at.is_not(None)


@where_of.register
def _(condition: filters.All, question: Question) -> Where:
    return sa.and_(sa.true(), *(where_of(each, question) for each in condition.conditions))


@where_of.register
def _(condition: filters.AnyOf, question: Question) -> Where:
    return sa.or_(sa.false(), *(where_of(each, question) for each in condition.conditions))


@where_of.register
def _(condition: filters.Not, question: Question) -> Where:
    return ~where_of(condition.condition, question)


def _exists(table: sa.Table, question: Question, *conditions: Any) -> Where:
    theirs = (table.c.account_id == question.account.id) & (table.c.lead_id == _LEADS.c.id)
    return sa.exists().where(theirs, *conditions).correlate(_LEADS)


def _between(column: sa.Column[int], low: int | None, high: int | None) -> Where:
    bounds = [column >= low] if low is not None else []
    return sa.and_(sa.true(), *bounds, *([column <= high] if high is not None else []))


def wanted(question: Question) -> Where:
    """All that holds of the leads that are found."""
    conditions = [where_of(question.tree, question)] if question.tree.conditions else []
    if any(isinstance(each, filters.Deleted) for each in question.tree.inside()):
        conditions.append(~_LEADS.c.email.startswith("erased:"))
    else:
        conditions.append(_LEADS.c.deleted_at.is_(None))
    if question.search.words:
        conditions.append(_searched(question))
    return sa.and_(*conditions)


# -- the beginning of a text --

_KEYS = {"first_name": _LEADS.c.first_key, "last_name": _LEADS.c.last_key}

INDEXED = {"email": _LEADS.c.email, **_KEYS}
"""What has an index that finds beginnings."""


def begins(question: Question, name: str, text: str) -> Where:
    """A name is found by its key, an address by itself."""
    if name == "email":
        return _from_to(question, _LEADS.c.email, text.lower())
    return sa.and_(_there(_KEYS[name]), _from_to(question, _KEYS[name], search_key(text)))


def _there(key: sa.Column[str]) -> sa.TextClause:
    """In the words of its index."""
    return sa.text(f"leads.{key.name} <> ''")


def _from_to(question: Question, column: sa.Column[str], text: str) -> Where:
    ends = filters.after_all(text)
    if question.postgresql:  # the comparisons of text_pattern_ops
        return column.bool_op("~>=~")(text) & column.bool_op("~<~")(ends)
    return (column >= text) & (column < ends)


def _searched(question: Question) -> Where:
    return sa.or_(*ways_of(question))


def ways_of(question: Question) -> Iterator[Where]:
    """Each of what somebody who types this may mean; each has an index."""
    search = question.search
    if search.number is not None:
        yield _LEADS.c.id == search.number
    for name in ("email", "first_name", "last_name") if len(search.words) == 1 else ("first_name", "last_name"):
        yield begins(question, name, search.whole)
    if len(search.words) == 1:
        same = _from_to(question, _LEADS.c.email_key, search_key(search.whole))
        yield sa.and_(_there(_LEADS.c.email_key), same)
    for ends in range(1, min(len(search.words), _MOST_SPLITS + 1)):
        whole, begun = " ".join(search.words[:ends]), " ".join(search.words[ends:])
        for one, other in (("first_name", "last_name"), ("last_name", "first_name")):
            yield sa.and_(_there(_KEYS[one]), _KEYS[one] == search_key(whole), begins(question, other, begun))


_MOST_SPLITS = 3
