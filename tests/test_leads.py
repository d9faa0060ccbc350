"""The Lead aggregate by itself: no server, no database, any sequence of what can happen to a lead."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartwheel.leads.events import (
    Event,
    LeadCreated,
    LeadDeleted,
    LeadEdited,
    LeadRestored,
    ListJoined,
    ListLeft,
    PointsExpired,
    PointsGiven,
    PointsRemoved,
    SequenceJoined,
    SequenceLeft,
    TagAssigned,
    TagUnassigned,
)
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import NOT_STORED, ROW, SCORE, CustomValue, Enrolment, Gdpr, Membership, Part, RunStatus

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)

Step = Callable[[Lead, datetime], None]
"""One thing that happens to a lead."""

quick = settings(max_examples=200, derandomize=True, deadline=None, database=None)


def new_lead() -> Lead:
    return Lead.create(1, 7, "ada@shop.example", START, source="api", test=False, gdpr=Gdpr.OFF)


def known_lead() -> Lead:
    """A lead as it comes from the database: not new, nothing to write, nothing to tell."""
    lead = new_lead()
    lead.is_new = False
    lead.dirty.clear()
    lead.events.clear()
    return lead


class Named:
    """A step that shows what it does when a test fails."""

    def __init__(self, name: str, *values: Any, timed: bool = False) -> None:
        self._name, self._values, self._timed = name, values, timed

    def __call__(self, lead: Lead, now: datetime) -> None:
        getattr(lead, self._name)(*self._values, *((now,) if self._timed else ()))

    def __repr__(self) -> str:
        return f"{self._name}{self._values}"


def one_of(*steps: Step) -> st.SearchStrategy[Step]:
    return st.sampled_from(steps)


IDS = (1, 2, 3)
STEPS: st.SearchStrategy[Step] = st.one_of(
    one_of(*(Named(name, number) for name in ("tag", "untag") for number in IDS)),
    one_of(*(Named(name, number, timed=True) for name in ("join", "leave", "unenrol") for number in IDS)),
    one_of(*(Named("enrol", number, box, timed=True) for number in IDS for box in ("1", "A2"))),
    one_of(*(Named("grant", points, days, timed=True) for points in (1, 5, 10**9) for days in (0, 1, 2, 30))),
    one_of(*(Named("deduct", points, timed=True) for points in (1, 7))),
    one_of(Named("expire", timed=True), Named("delete", timed=True), Named("restore")),
    one_of(*(Named("edit", {name: text}, {}) for name in ("city", "first_name") for text in ("", "Bern"))),
    one_of(*(Named("edit", {}, {number: value}) for number in IDS for value in ("", "43", (612,), (612, 613)))),
    one_of(*(Named("rename", email) for email in ("ada@shop.example", "lin@shop.example"))),
)
HISTORIES = st.lists(st.tuples(STEPS, st.sampled_from([0, 0, 1, 12, 24, 48])), max_size=40)


def live(lead: Lead, history: list[tuple[Step, int]], start: datetime = START) -> datetime:
    """Let it all happen; the hours pass before each step."""
    now = start
    for step, hours in history:
        now += timedelta(hours=hours)
        step(lead, now)
    return now


def state(lead: Lead) -> dict[str, Any]:
    """Everything that a person could see of the lead."""
    seen = ("email", "score", "deleted_at", "profile", "custom", "tags", "lists", "runs", "past_runs", "grants")
    found = deepcopy({name: getattr(lead, name) for name in seen})
    return found | {"profile": {name: text for name, text in lead.profile.items() if text}}


@quick
@given(HISTORIES, STEPS)
def test_what_changes_the_lead_tells_one_event_and_what_does_not_tells_none(
    history: list[tuple[Step, int]], step: Step
) -> None:
    lead = known_lead()
    now = live(lead, history)
    lead.expire(now)
    before, told = state(lead), len(lead.events)
    step(lead, now)
    news = lead.events[told:]
    if LeadDeleted() in news:  # which takes it out of its sequences as well
        news = [event for event in news if not isinstance(event, SequenceLeft)]
    assert len(news) == (state(lead) != before)


@quick
@given(HISTORIES)
def test_the_score_is_the_sum_of_the_ledger_at_every_moment(history: list[tuple[Step, int]]) -> None:
    lead, now = new_lead(), START
    for step, hours in history:
        now += timedelta(hours=hours)
        step(lead, now)
        assert lead.score == sum(grant.points for grant in lead.grants.values() if grant.reversed_at is None)


@quick
@given(HISTORIES)
def test_every_change_is_marked_to_be_written(history: list[tuple[Step, int]]) -> None:
    lead = known_lead()
    live(lead, history[: len(history) // 2])
    before = state(lead)
    lead.dirty.clear()
    live(lead, history[len(history) // 2 :], START + 30 * DAY)
    after = state(lead)
    for part, name in (
        (Part.LISTS, "lists"),
        (Part.SEQUENCES, "runs"),
        (Part.POINTS, "grants"),
        (Part.PROFILE, "custom"),
    ):
        keys = before[name].keys() | after[name].keys()
        assert {(part, key) for key in keys if before[name].get(key) != after[name].get(key)} <= lead.dirty
    assert {(Part.TAGS, tag) for tag in before["tags"] ^ after["tags"]} <= lead.dirty
    if any(before[name] != after[name] for name in ("email", "deleted_at", "profile")):
        assert ROW in lead.dirty
    if before["score"] != after["score"]:
        assert SCORE in lead.dirty


def told_again(events: list[Event]) -> dict[str, Any]:
    """Where a lead stands, by nothing but its feed."""
    tags: set[int] = set()
    lists: dict[int, bool] = {}
    runs: dict[int, str | None] = {}
    score, deleted = 0, False
    for event in events:
        match event:
            case TagAssigned(tag_id):
                tags.add(tag_id)
            case TagUnassigned(tag_id):
                tags.remove(tag_id)
            case ListJoined(list_id) | ListLeft(list_id):
                lists[list_id] = isinstance(event, ListJoined)
            case SequenceJoined(sequence_id, step):
                runs[sequence_id] = step
            case SequenceLeft(sequence_id, _):
                runs[sequence_id] = None
            case PointsGiven(points, _):
                score += points
            case PointsRemoved(points) | PointsExpired(points):
                score -= points
            case LeadDeleted() | LeadRestored():
                deleted = isinstance(event, LeadDeleted)
    return {"tags": tags, "lists": lists, "runs": runs, "score": score, "deleted": deleted}


@quick
@given(HISTORIES)
def test_the_feed_alone_tells_where_a_lead_stands(history: list[tuple[Step, int]]) -> None:
    lead = new_lead()
    live(lead, history)
    assert told_again(lead.events) == {
        "tags": lead.tags,
        "lists": {number: place.active for number, place in lead.lists.items()},
        "runs": {number: run.step if run.status is RunStatus.ACTIVE else None for number, run in lead.runs.items()},
        "score": lead.score,
        "deleted": lead.deleted_at is not None,
    }


@quick
@given(HISTORIES, HISTORIES)
def test_a_fork_shares_nothing_that_changes(past: list[tuple[Step, int]], future: list[tuple[Step, int]]) -> None:
    lead = new_lead()
    now = live(lead, past)
    before, dirty, told = state(lead), set(lead.dirty), list(lead.events)
    twin = lead.fork()
    assert (state(twin), twin.dirty, twin.events) == (before, dirty, [])
    live(twin, future, now)
    assert (state(lead), lead.dirty, lead.events) == (before, dirty, told)


@quick
@given(
    st.lists(st.tuples(st.integers(1, 1000), st.sampled_from([0, 1, 2, 30]), st.integers(0, 72)), max_size=20),
    st.lists(st.integers(0, 200), max_size=20),
)
def test_each_grant_is_taken_back_once_whenever_and_however_often_somebody_looks(
    grants: list[tuple[int, int, int]], looks: list[int]
) -> None:
    lead, now = known_lead(), START
    for points, days, hours in grants:
        now += timedelta(hours=hours)
        lead.grant(points, days, now)
    given_at = {key: grant.given_at for key, grant in lead.grants.items()}
    for hours in sorted(looks):
        lead.expire(now + timedelta(hours=hours))
    end = now + timedelta(hours=max(looks, default=0))
    over = [
        points
        for (points, days, _), at in zip(grants, given_at.values(), strict=True)
        if days and at + days * DAY <= end
    ]
    taken = [event.points for event in lead.events if isinstance(event, PointsExpired)]
    assert Counter(taken) == Counter(over if looks else [])
    assert lead.score == sum(points for points, _, _ in grants) - sum(taken)


@quick
@given(HISTORIES, HISTORIES)
def test_new_grants_have_keys_of_their_own_in_the_order_of_their_making(
    past: list[tuple[Step, int]], future: list[tuple[Step, int]]
) -> None:
    lead = new_lead()
    now = live(lead, past)
    twin = lead.fork()
    live(twin, future, now)
    for each in (lead, twin):
        assert list(each.grants) == [-1 - position for position in range(len(each.grants))]
        assert all(grant.key == key for key, grant in each.grants.items())


@quick
@given(HISTORIES)
def test_every_run_is_kept_and_only_the_latest_one_through_a_sequence_may_be_active(
    history: list[tuple[Step, int]],
) -> None:
    lead = new_lead()
    live(lead, history)
    joined = [(event.sequence_id, event.step) for event in lead.events if isinstance(event, SequenceJoined)]
    runs = [*lead.past_runs, *lead.runs.values()]
    assert Counter((run.sequence_id, run.step) for run in runs) == Counter(joined)
    assert {run.status for run in lead.past_runs} <= {RunStatus.UNSUBSCRIBED}
    latest = dict(joined)  # the last one of each sequence
    assert {number: run.step for number, run in lead.runs.items()} == latest
    assert [run.started_at for run in lead.runs.values()] == sorted(run.started_at for run in lead.runs.values())


@quick
@given(HISTORIES)
def test_deleting_ends_the_runs_and_leaves_the_rest_and_restoring_starts_none(history: list[tuple[Step, int]]) -> None:
    lead = new_lead()
    now = live(lead, history)
    lead.restore()
    before = state(lead)
    lead.delete(now)
    after = state(lead)
    assert after | {"runs": 0} == before | {"runs": 0, "deleted_at": now}
    assert not {run.status for run in lead.runs.values()} & {RunStatus.ACTIVE, RunStatus.PARKED}
    assert all(run.mails_are_stopped(run.key) for run in lead.runs.values() if run.key != NOT_STORED)
    lead.restore()
    assert state(lead) == after | {"deleted_at": None}


def test_points_expire_at_the_very_microsecond_and_not_before() -> None:
    lead = known_lead()
    lead.grant(5, 1, START)
    lead.expire(START + DAY - timedelta(microseconds=1))
    assert lead.score == 5
    lead.expire(START + DAY)
    assert lead.score == 0
    lead.expire(START + 2 * DAY)
    assert [type(event) for event in lead.events] == [PointsGiven, PointsExpired]


def test_a_score_may_go_below_zero() -> None:
    lead = known_lead()
    lead.grant(5, 1, START)
    lead.deduct(4, START)
    lead.expire(START + DAY)
    assert lead.score == -4


def test_who_leaves_a_list_stays_in_its_books_and_may_join_anew() -> None:
    lead = known_lead()
    lead.leave(1, START)
    assert lead.lists == {}
    lead.join(1, START)
    lead.leave(1, START + DAY)
    assert lead.lists == {1: Membership(START, START + DAY)}
    lead.join(1, START + 2 * DAY)
    assert lead.lists == {1: Membership(START + 2 * DAY)}
    assert [type(event) for event in lead.events] == [ListJoined, ListLeft, ListJoined]


@pytest.mark.parametrize("status", [RunStatus.ACTIVE, RunStatus.COMPLETED])
def test_who_is_in_a_sequence_or_has_completed_it_stays_where_it_is(status: RunStatus) -> None:
    lead = known_lead()
    lead.enrol(1, "1", START)
    lead.runs[1] = Enrolment(NOT_STORED, 1, "1", status, START)
    lead.enrol(1, "A2", START + DAY)
    assert [(run.step, run.status) for run in lead.runs.values()] == [("1", status)]


def test_who_left_a_sequence_may_start_anew_at_another_step() -> None:
    lead = known_lead()
    lead.enrol(1, "1", START)
    lead.unenrol(1, START)
    lead.unenrol(1, START)
    lead.enrol(1, "A2", START)
    assert lead.past_runs == [Enrolment(NOT_STORED, 1, "1", RunStatus.UNSUBSCRIBED, START, START, arrived_at=START)]
    assert lead.runs == {
        1: Enrolment(NOT_STORED, 1, "A2", RunStatus.ACTIVE, START, arrived_at=START, due_at=START, earlier=(START,))
    }


@pytest.mark.parametrize("empty", ["", ()])
def test_an_empty_value_clears_a_custom_field(empty: CustomValue) -> None:
    lead = known_lead()
    lead.edit({}, {3: "43"})
    lead.edit({}, {3: empty})
    assert lead.custom == {}
    assert lead.events == [LeadEdited([], [3]), LeadEdited([], [3])]


def test_creating_a_lead_tells_one_event_whatever_fields_it_has() -> None:
    lead = new_lead()
    lead.fill({"city": "Bern"}, {3: "43"})
    assert lead.events == [LeadCreated("api")]
    lead.edit({"city": "Basel"}, {3: "43"})
    assert lead.events == [LeadCreated("api"), LeadEdited(["city"], [])]


def test_a_part_that_was_not_asked_for_cannot_be_used_by_mistake() -> None:
    lead = Lead(account_id=1, id=7, email="ada@shop.example", created_at=START)
    parts = (Part.PROFILE, Part.TAGS, Part.LISTS, Part.SEQUENCES, Part.POINTS)
    assert not any(lead.has(part) for part in parts)
    for step in (Named("tag", 1), Named("join", 1, START), Named("grant", 1, 0, START), Named("enrol", 1, "1", START)):
        with pytest.raises((TypeError, AttributeError)):
            step(lead, START)
