"""What each type of step does, and where it sends a run."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowworld import ACCOUNT, MAIL, NOON, Walk, flow

from cartwheel.accounts import Account
from cartwheel.leads.events import SequenceJoined, SequenceRefused
from cartwheel.leads.leadparts import Entry, Part, RunStatus
from cartwheel.sequences import telling
from cartwheel.sequences.steps import STEP_TYPES, AnyStep

HAS_TAG = {"type": "has_tag", "tag": "Customer"}


def test_mails_go_out_in_order_and_the_run_completes() -> None:
    walk = Walk(MAIL, MAIL | {"delay": "2 days"})
    assert walk.mailed == ["1"]
    assert walk.go(hours=47).mailed == ["1"]
    assert walk.go(hours=1).mailed == ["1", "2"]
    assert walk.run.status is RunStatus.COMPLETED


def test_a_delay_counts_from_the_arrival_at_the_step() -> None:
    walk = Walk(MAIL | {"delay": "1 day"}, MAIL | {"delay": "1 day"})
    assert walk.go(hours=24).mailed == ["1"]
    assert walk.go(hours=23).mailed == ["1"]
    assert walk.go(hours=1).mailed == ["1", "2"]


def test_a_wait_only_waits() -> None:
    walk = Walk(MAIL, {"type": "wait", "delay": "2 days"}, MAIL)
    assert walk.go(hours=47).mailed == ["1"]
    assert walk.go(hours=1).mailed == ["1", "3"]


def test_a_wait_needs_something_to_wait_for() -> None:
    with pytest.raises(msgspec.ValidationError, match="a wait needs a `delay`"):
        flow({"type": "wait"})
    for waits in ({"at": "2026-05-01 09:00"}, {"window": {"from": "09:00"}}):
        assert flow({"type": "wait", **waits}).steps[0].timed


def test_who_does_not_meet_a_mails_filter_goes_on_without_it() -> None:
    walk = Walk(MAIL | {"only_if": HAS_TAG}, MAIL)
    assert walk.mailed == ["2"]


def test_points_tags_and_lists_change_the_lead() -> None:
    walk = Walk(
        {"type": "points", "points": 5, "days": 2},
        {"type": "points", "points": -2},
        {"type": "assign_tag", "tag": "customer "},
        {"type": "assign_tag", "tag": "Trial"},
        {"type": "unassign_tag", "tag": "Trial"},
        {"type": "subscribe_list", "list": "News"},
    )
    assert (walk.lead.score, walk.lead.tags, walk.lead.lists[1].active) == (3, {1}, True)


def test_a_list_can_be_left() -> None:
    walk = Walk({"type": "subscribe_list", "list": "News"}, {"type": "unsubscribe_list", "list": "News"})
    assert not walk.lead.lists[1].active


def test_another_sequence_is_started_at_its_first_step_or_the_one_given() -> None:
    assert Walk({"type": "start_sequence", "sequence": "Other"}).lead.runs[2].step == "1"
    assert Walk({"type": "start_sequence", "sequence": "Other", "step": "2"}).lead.runs[2].step == "2"


def test_a_sequence_can_be_stopped_be_it_this_one() -> None:
    walk = Walk({"type": "start_sequence", "sequence": "Other"}, {"type": "stop_sequence", "sequence": "Other"}, MAIL)
    assert walk.lead.runs[2].status is RunStatus.UNSUBSCRIBED
    assert walk.mailed == ["3"]
    walk = Walk({"type": "stop_sequence", "sequence": "Welcome"}, MAIL)
    assert (walk.run.status, walk.mailed) == (RunStatus.UNSUBSCRIBED, [])


@pytest.mark.parametrize(("tagged", "mailed"), [(True, ["A1"]), (False, ["2", "A1"])])
def test_a_split_has_two_ways(*, tagged: bool, mailed: list[str]) -> None:
    walk = Walk(
        {"type": "wait_until", "condition": {"type": "not", "condition": HAS_TAG}, "timeout": "1 minute"}
        if not tagged
        else {"type": "assign_tag", "tag": "Customer"},
        {"box": "S", "type": "split", "condition": HAS_TAG, "then": "A1"},
        MAIL | {"box": "2"},
        MAIL | {"box": "A1"},
    )
    assert walk.mailed == mailed


def test_a_random_split_keeps_its_weights_and_decides_the_same_again() -> None:
    steps: list[dict[str, Any]] = [
        {"type": "random_split", "branches": [{"weight": 3, "to": "A1"}, {"weight": 1, "to": "B1"}]},
        MAIL | {"box": "A1", "ends": True},
        MAIL | {"box": "B1"},
    ]
    ways = [Walk(*steps, lead_id=number).mailed[0] for number in range(1, 2001)]
    assert 1400 < Counter(ways)["A1"] < 1600
    assert ways == [Walk(*steps, lead_id=number).mailed[0] for number in range(1, 2001)]


def test_waiting_ends_with_the_condition() -> None:
    walk = Walk({"type": "wait_until", "condition": HAS_TAG}, MAIL)
    assert walk.go(days=1000).mailed == []
    assert walk.run.due_at is None
    assert walk.run.reason == "until the lead has the tag Customer"
    walk.lead.tag(1)
    assert walk.wake().mailed == ["2"]


def test_waiting_ends_with_its_time_out() -> None:
    wait = {"type": "wait_until", "condition": HAS_TAG, "timeout": "3 days", "on_timeout": "A1"}
    walk = Walk(wait, MAIL | {"ends": True}, MAIL | {"box": "A1"})
    assert walk.wake().go(days=2).mailed == []
    assert walk.go(days=1).mailed == ["A1"]


def test_a_goal_draws_leads_from_any_step_before_it() -> None:
    walk = Walk(MAIL, MAIL | {"delay": "5 days"}, {"type": "goal", "condition": HAS_TAG}, MAIL)
    walk.lead.tag(1)
    assert walk.wake().mailed == ["1", "4"]


GOAL = {"type": "goal", "condition": HAS_TAG}
SUB_SEQUENCE = (
    {"type": "go_to", "to": "A1"},
    MAIL | {"box": "2", "delay": "1 day"},
    GOAL | {"box": "3"},
    MAIL | {"box": "4", "ends": True},
    MAIL | {"box": "A1"},
    MAIL | {"box": "A2", "delay": "5 days"},
    {"box": "A3", "type": "go_to", "to": "2"},
)
BRANCHES = (
    {"type": "split", "condition": HAS_TAG, "then": "B1"},
    MAIL | {"box": "A1", "delay": "5 days", "ends": True},
    MAIL | {"box": "B1", "delay": "5 days"},
    GOAL | {"box": "B2"},
    MAIL | {"box": "B3"},
)
ISLAND = (MAIL, MAIL | {"delay": "5 days", "ends": True}, GOAL | {"box": "G"}, MAIL | {"box": "G1"})
CIRCLE = (
    MAIL | {"delay": "1 day"},
    GOAL | {"box": "2"},
    MAIL | {"box": "3", "delay": "1 day"},
    {"box": "4", "type": "go_to", "to": "1"},
)
SEVERAL = (
    {"type": "go_to", "to": "A1"},
    GOAL | {"box": "2"},
    MAIL | {"box": "3", "ends": True},
    MAIL | {"box": "A1", "delay": "5 days"},
    GOAL | {"box": "A2"},
    MAIL | {"box": "A3"},
    {"box": "A4", "type": "go_to", "to": "2"},
)


@pytest.mark.parametrize(
    ("steps", "at", "days", "boxes"),
    [
        pytest.param(SUB_SEQUENCE, "1", 0, ["4"], id="from a sub-sequence that leads to it"),
        pytest.param(BRANCHES, "A1", 0, [], id="not from a branch that does not lead to it"),
        pytest.param(BRANCHES, "B1", 0, ["B3"], id="from the branch that does"),
        pytest.param(ISLAND, "1", 0, ["G1"], id="from everything before it if nothing leads to it"),
        pytest.param(CIRCLE, "1", 0, [], id="in a circle: forwards"),
        pytest.param(CIRCLE, "3", 3, ["3", "3", "3"], id="in a circle: not backwards"),
        pytest.param(SEVERAL, "1", 0, ["3"], id="of several, to the last on the way"),
    ],
)
def test_before_a_goal_is_what_leads_to_it(steps: Any, at: str, days: int, boxes: list[str]) -> None:
    walk = Walk(*steps)
    if at not in {walk.run.step, "1"}:
        walk.lead.go_to(walk.run, at, walk.now)
        walk.go()
    before = len(walk.mailed)
    walk.lead.tag(1)
    assert walk.wake().go(days=days).mailed[before:] == boxes
    assert walk.run.status is not RunStatus.PARKED


def test_an_inactive_step_leads_only_to_what_follows() -> None:
    walk = Walk(
        {"type": "go_to", "to": "G", "active": False},
        MAIL | {"delay": "5 days", "ends": True},
        MAIL | {"box": "3", "next": "G"},
        GOAL | {"box": "G"},
        MAIL | {"box": "G1", "ends": True},
        {"box": "X", "type": "go_to", "to": "2"},
    )
    walk.lead.tag(1)
    assert walk.wake().mailed == ["G1"], "it is written before a goal that nothing leads to"


def test_waiting_ends_at_any_hour_though_it_began_in_a_window() -> None:
    """What came first counts: nobody is kept until the window opens again, when both have happened."""
    wait = {"type": "wait_until", "condition": HAS_TAG, "timeout": "3 hours", "on_timeout": "L"}
    steps = (wait | {"window": {"from": "14:00", "to": "15:00"}}, MAIL | {"ends": True}, MAIL | {"box": "L"})
    walk = Walk(*steps)  # it is 13:00 in Madrid
    assert (walk.mailed, walk.run.reason) == ([], "its time")
    walk.go(hours=3)
    assert str(walk.run.due_at) == "2026-03-02 16:00:00+00:00"
    told = telling.waits_for(walk.run, walk.flow.steps[0], walk.lead, ACCOUNT)
    assert told == "until the lead has the tag Customer, at the latest until Mon 2026-03-02 17:00"
    walk.lead.tag(1)
    assert walk.wake().mailed == ["2"]
    late = Walk(*steps).go(hours=4)
    assert (late.mailed, late.run.status) == (["L"], RunStatus.COMPLETED)


@pytest.mark.parametrize(("unmet", "mailed"), [("go on", ["2"]), ("wait", []), ("end", [])])
def test_who_comes_to_a_goal_without_meeting_it(unmet: str, mailed: list[str]) -> None:
    walk = Walk({"type": "goal", "condition": HAS_TAG, "unmet": unmet}, MAIL)
    assert walk.mailed == mailed
    assert walk.run.status is (RunStatus.ACTIVE if unmet == "wait" else RunStatus.COMPLETED)


def test_a_run_ends_by_completing_or_by_unsubscribing() -> None:
    assert Walk({"type": "complete"}, MAIL).run.status is RunStatus.COMPLETED
    assert Walk({"type": "unsubscribe"}, MAIL).run.status is RunStatus.UNSUBSCRIBED
    assert Walk({"type": "complete"}, MAIL).mailed == []


def test_a_jump_goes_into_a_sub_sequence_and_out_of_it() -> None:
    walk = Walk(
        {"type": "go_to", "to": "A1"},
        MAIL | {"box": "2", "ends": True},
        MAIL | {"box": "A1"},
        {"box": "A2", "type": "go_to", "to": "2"},
    )
    assert walk.mailed == ["A1", "2"]


def test_inactive_steps_are_passed_by_at_once() -> None:
    assert Walk(MAIL | {"active": False, "delay": "9 days"}, MAIL).mailed == ["2"]


def test_a_circle_is_parked_and_says_so() -> None:
    walk = Walk({"type": "go_to", "to": "2"}, {"type": "go_to", "to": "1"})
    assert walk.run.status is RunStatus.PARKED
    assert "circle" in walk.run.reason


def test_a_circle_with_a_pause_in_it_goes_on_and_each_visit_sends() -> None:
    walk = Walk(MAIL | {"delay": "1 day"}, {"type": "go_to", "to": "1"}).go(days=3)
    assert walk.mailed == ["1", "1", "1"]
    assert len({mail.move for mail in walk.lead.outgoing}) == 3


def test_what_the_account_does_not_have_parks_the_run_with_the_reason() -> None:
    walk = Walk({"type": "assign_tag", "tag": "Customer"}, account=replace(ACCOUNT, tags={}))
    assert walk.run.status is RunStatus.PARKED
    assert walk.run.reason == "There is no tag of this name: Customer"


def paused(account: Account, *, resumed_at: Any = None) -> Account:
    sequence = replace(account.sequences["welcome"], paused=resumed_at is None, resumed_at=resumed_at)
    return replace(account, sequences={**account.sequences, "welcome": sequence})


def test_a_pause_holds_everybody_and_a_running_delay_begins_again() -> None:
    walk = Walk(MAIL, MAIL | {"delay": "2 days"})
    walk.account = paused(ACCOUNT)
    assert walk.go(days=5).mailed == ["1"]
    assert walk.run.held
    walk.account = paused(ACCOUNT, resumed_at=walk.now)
    assert walk.wake().go(hours=47).mailed == ["1"]
    assert walk.go(hours=1).mailed == ["1", "2"]


def test_who_starts_while_it_is_paused_waits_at_the_start() -> None:
    walk = Walk(MAIL, account=paused(ACCOUNT))
    assert (walk.mailed, walk.run.step) == ([], "1")
    walk.account = ACCOUNT
    assert walk.wake().mailed == ["1"]


def test_a_window_waits_for_its_opening_in_the_accounts_zone() -> None:
    walk = Walk(MAIL | {"window": {"days": ["tue"], "from": "09:00", "to": "10:00"}})
    assert walk.mailed == []
    assert str(walk.run.due_at) == "2026-03-03 08:00:00+00:00"
    assert walk.go(hours=20).mailed == ["1"]


def test_a_date_is_waited_for_and_a_past_one_is_now() -> None:
    assert Walk(MAIL | {"at": "2026-03-02 12:00"}).mailed == ["1"]  # an hour ago in Madrid
    walk = Walk(MAIL | {"at": "2026-03-09 13:30"})
    assert str(walk.run.due_at) == "2026-03-09 12:30:00+00:00"


def test_who_comes_too_late_for_a_window_waits_for_the_next() -> None:
    walk = Walk(MAIL | {"delay": "1 hour", "window": {"from": "09:00", "to": "15:00"}})
    walk.now += timedelta(hours=9)  # nobody looked
    assert walk.go().mailed == []
    assert str(walk.run.due_at) == "2026-03-03 08:00:00+00:00"
    assert walk.go(hours=24).mailed == ["1"]


def test_a_time_out_runs_from_the_beginning_of_the_waiting() -> None:
    walk = Walk({"type": "wait_until", "condition": HAS_TAG, "at": "2026-03-09 13:30", "timeout": "1 day"}, MAIL)
    assert walk.go(days=7, hours=23).mailed == []
    assert walk.go(hours=2).mailed == ["2"]


CONDITIONS = [
    ({"type": "score", "at_least": 5}, True),
    ({"type": "score", "at_most": 4}, False),
    ({"type": "score", "at_least": 1, "at_most": 6}, True),
    ({"type": "field", "field": "city", "equals": "madrid "}, True),
    ({"type": "field", "field": "city", "contains": "DRI"}, True),
    ({"type": "field", "field": "city"}, True),
    ({"type": "field", "field": "state"}, False),
    ({"type": "field", "field": "state", "equals": ""}, True),
    ({"type": "field", "field": "plan", "equals": "gold"}, True),
    ({"type": "field", "field": "email", "contains": "@shop"}, True),
    ({"type": "in_sequence", "sequence": "Welcome"}, True),
    ({"type": "in_sequence", "sequence": "Other"}, False),
    ({"type": "completed", "sequence": "Welcome"}, False),
    ({"type": "left", "sequence": "Other"}, False),
    ({"type": "opened"}, False),
    ({"type": "on_list", "list": "News"}, False),
    ({"type": "opened", "box": "1"}, False),
    ({"type": "all", "conditions": [HAS_TAG, {"type": "score", "at_least": 5}]}, True),
    ({"type": "all", "conditions": [HAS_TAG, {"type": "score", "at_least": 9}]}, False),
    ({"type": "any", "conditions": [HAS_TAG, {"type": "score", "at_least": 9}]}, True),
    ({"type": "not", "condition": HAS_TAG}, False),
]


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS)
def test_conditions(condition: dict[str, Any], *, holds: bool) -> None:
    walk = Walk(MAIL | {"delay": "1 day"}, {"type": "split", "condition": condition, "then": "Y"},
                MAIL | {"box": "N", "ends": True}, MAIL | {"box": "Y"})  # fmt: skip
    walk.lead.tag(1)
    walk.lead.grant(5, 0, NOON)
    walk.lead.edit({"city": "Madrid"}, {1: (7,)})
    assert walk.go(days=1).mailed[-1] == ("Y" if holds else "N")


def test_within_counts_from_the_sending_of_the_mail() -> None:
    """A mail may wait for days until it is sent: a limit, a server that is away."""
    for hours, box in ((1, "Y"), (3, "N")):
        walk = Walk(
            MAIL,
            MAIL | {"box": "W", "delay": "5 days", "active": True},
            {"box": "S", "type": "split", "condition": {"type": "opened", "within": "2 hours"}, "then": "Y"},
            MAIL | {"box": "N", "ends": True},
            MAIL | {"box": "Y"},
        )
        sent = NOON + timedelta(days=3)
        opened = sent + timedelta(hours=hours)
        mail = msgspec.structs.replace(walk.lead.outgoing[0], key=1, sent_at=sent, opened_at=opened)
        walk.lead.mails[1] = mail
        assert walk.go(days=5).mailed[-1] == box


@pytest.mark.parametrize(("entry", "starts"), [({}, 4), ({"most": 2, "days": 1}, 2), ({"again": False}, 1)])
def test_a_step_starts_nobody_again_and_again(entry: dict[str, Any], starts: int) -> None:
    other = replace(ACCOUNT.sequences["other"], entry=Entry(**entry))
    account = replace(ACCOUNT, sequences={**ACCOUNT.sequences, "other": other})
    steps = [
        {"type": "start_sequence", "sequence": "Other"},
        {"type": "stop_sequence", "sequence": "Other"},
        {"type": "go_to", "to": "1", "delay": "1 hour"},
    ]
    walk = Walk(*steps, account=account).go(hours=9)
    joined = [event for event in walk.lead.events if isinstance(event, SequenceJoined) and event.sequence_id == 2]
    refused = [event for event in walk.lead.events if isinstance(event, SequenceRefused)]
    assert (len(joined), len(refused)) == (starts, 10 - starts)


def test_a_flow_that_asks_for_the_score_needs_what_is_due_to_expire() -> None:
    score = {"type": "score", "at_least": 5}
    for step in (MAIL | {"only_if": score}, GOAL | {"condition": {"type": "not", "condition": score}}):
        assert flow(step).parts & Part.POINTS
    assert not flow(MAIL, GOAL).parts & Part.POINTS


def test_every_problem_names_its_box() -> None:
    broken = flow(
        MAIL,
        {"type": "go_to", "to": "Z9"},
        {"box": "1", "type": "assign_tag", "tag": "Nobody's"},
        {"box": "4", "type": "split", "condition": {"type": "opened", "box": "2"}, "then": "1"},
    )
    assert [str(problem) for problem in broken.problems(ACCOUNT)] == [
        "box 1: there are two of them",
        "box 2: there is no box Z9 to go to",
        "box 1: There is no tag of this name: Nobody's",
        "box 4: box 2, whose mail it asks about, sends none",
    ]


def test_boxes_that_nobody_comes_to_are_found() -> None:
    assert flow(MAIL | {"ends": True}, MAIL, {"type": "goal", "condition": HAS_TAG}, MAIL).unreachable() == ["2"]


def test_every_type_of_step_is_tried_here() -> None:
    """A new one without a test is noticed."""
    text = Path(__file__).read_text()
    for step in STEP_TYPES:
        assert f'"type": "{step.__struct_config__.tag}"' in text or step.__struct_config__.tag == "email"


@pytest.mark.parametrize(
    "step",
    [
        MAIL | {"delay": "soon"},
        MAIL | {"delay": "1 day", "at": "2026-01-01 00:00"},
        MAIL | {"next": "1", "ends": True},
        MAIL | {"window": {"from": "09:00", "to": "09:00"}},
        MAIL | {"window": {"zone": "Mars/Olympus"}},
        {"type": "wait_until", "condition": HAS_TAG, "on_timeout": "1"},
        {"type": "score"},
        {"type": "split", "condition": {"type": "score"}},
    ],
)
def test_a_step_that_makes_no_sense_is_refused(step: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"box": "1", **step}, AnyStep)
