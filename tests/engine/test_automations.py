"""What starts an automation, what it does, and where it ends."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from flowworld import ACCOUNT, NOON

from cartwheel.accounts import Account, Automation, Tag, name_key
from cartwheel.leads.events import AutomationRefused, AutomationSkipped, Event, MailOpened
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Gdpr, Membership, RunStatus
from cartwheel.sequences import automations
from cartwheel.sequences.actions import ACTION_TYPES
from cartwheel.sequences.automations import Plan, Reaction
from cartwheel.sequences.triggers import TRIGGER_TYPES

GOT = {"type": "assign_tag", "tag": "Customer"}
THANK = {"type": "points", "points": 5}
HAS_TRIAL = {"type": "has_tag", "tag": "Trial"}
ON_NEWS = {"type": "on_list", "list": "News"}


def rule(when: dict[str, Any], *then: dict[str, Any], condition: dict[str, Any] | None = None) -> Plan:
    return msgspec.convert({"when": when, "then": then, "condition": condition}, Plan)


def account_with(*plans: Plan) -> Account:
    made = [Automation(number, f"Rule {number}", active=True, plan=plan) for number, plan in enumerate(plans, 1)]
    return replace(ACCOUNT, automations={name_key(entry.name): entry for entry in made})


def new_lead() -> Lead:
    lead = Lead.create(1, 1, "ada@shop.example", NOON, source="api", test=False, gdpr=Gdpr.OFF)
    lead.events.clear()
    return lead


class Reacted:
    """A lead with what automations made of what was done to it."""

    def __init__(self, *plans: Plan, lead: Lead | None = None) -> None:
        self.account = account_with(*plans)
        self.lead = lead or new_lead()

    def to(self, *acts: Any) -> "Reacted":
        for act in acts:
            act(self.lead)
        self.reaction: Reaction = automations.react(self.lead, self.account, NOON, "cli")
        return self

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.lead.events]

    def last(self, kind: type[Event]) -> Any:
        return [event for event in self.lead.events if isinstance(event, kind)][-1]


def tag(number: int) -> Any:
    return lambda lead: lead.tag(number)


def test_an_event_starts_what_hears_it_and_what_it_does_follows() -> None:
    reacted = Reacted(rule(GOT, THANK, {"type": "subscribe_list", "list": "News"})).to(tag(1))
    assert (reacted.lead.score, reacted.lead.lists[1].active) == (5, True)
    assert reacted.kinds == ["tag_assigned", "automation_ran", "points_given", "list_joined"]
    assert reacted.reaction.origins == ["cli", *["automation:1"] * 3]


@pytest.mark.parametrize(("when", "starts"), [(GOT, False), ({"type": "assign_tag"}, True)])
def test_a_trigger_may_be_narrowed_to_one_tag(*, when: dict[str, Any], starts: bool) -> None:
    assert bool(Reacted(rule(when, THANK)).to(tag(2)).lead.score) is starts


@pytest.mark.parametrize(
    ("when", "act"),
    [
        ({"type": "assign_tag", "tag": "customer "}, tag(1)),
        ({"type": "unassign_tag", "tag": "Trial"}, lambda lead: lead.untag(2)),
        ({"type": "list_subscription", "list": "News"}, lambda lead: lead.join(1, NOON)),
        ({"type": "list_unsubscription"}, lambda lead: (lead.join(1, NOON), lead.leave(1, NOON))),
        ({"type": "sequence_subscription", "sequence": "Other"}, lambda lead: lead.enrol(2, "1", NOON)),
        ({"type": "sequence_unsubscription", "sequence": "Welcome"}, lambda lead: lead.unenrol(1, NOON)),
        ({"type": "sequence_completion", "sequence": "Welcome"}, lambda lead: lead.complete(lead.runs[1], NOON)),
        ({"type": "reaches_score", "points": 10}, lambda lead: lead.grant(10, 0, NOON)),
        (
            {"type": "mail_opened", "sequence": "Welcome", "step": "1"},
            lambda lead: lead.events.append(MailOpened(1, "1")),
        ),
        ({"type": "lead_edited", "field": "city"}, lambda lead: lead.edit({"city": "Paris"}, {})),
        ({"type": "lead_edited", "field": "plan"}, lambda lead: lead.edit({}, {1: (7,)})),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_each_trigger_fits_its_event(when: dict[str, Any], act: Any) -> None:
    lead = new_lead()
    lead.tags.add(2)
    lead.enrol(1, "1", NOON)
    lead.events.clear()
    assert Reacted(rule(when, {"type": "unassign_tag", "tag": "Trial"}, GOT), lead=lead).to(act).lead.tags == {1}


def test_a_new_lead_starts_what_hears_of_it() -> None:
    lead = Lead.create(1, 1, "ada@shop.example", NOON, source="api", test=False, gdpr=Gdpr.OFF)
    assert Reacted(rule({"type": "lead_created"}, THANK), lead=lead).to().lead.score == 5


@pytest.mark.parametrize(
    ("given", "runs"),
    [((9,), 0), ((10,), 1), ((9, 1), 1), ((12, 5), 1), ((10, 5), 1), ((9, -5, 7), 1), ((9, -5, 5), 0)],
)
def test_a_score_is_reached_from_below_only(given: tuple[int, ...], runs: int) -> None:
    reacted = Reacted(rule({"type": "reaches_score", "points": 10}, GOT))
    reacted.to(*(lambda lead, p=p: lead.grant(p, 0, NOON) if p > 0 else lead.deduct(-p, NOON) for p in given))
    assert reacted.kinds.count("automation_ran") == runs


def test_each_event_of_a_piece_of_work_starts_it() -> None:
    assert Reacted(rule({"type": "assign_tag"}, THANK)).to(tag(1), tag(2)).lead.score == 10


def test_a_condition_is_asked_of_the_lead_as_it_is_then_and_what_fails_is_told() -> None:
    plans = rule(GOT, THANK, condition={"type": "all", "conditions": [HAS_TRIAL, ON_NEWS]})
    reacted = Reacted(plans).to(tag(1), tag(2))
    assert (reacted.lead.score, reacted.last(AutomationSkipped).condition) == (0, "the lead is on the list News")
    reacted = Reacted(plans).to(tag(1), tag(2), lambda lead: lead.join(1, NOON))
    assert reacted.lead.score == 5


def test_a_condition_about_mails_is_asked_of_the_run_that_started_it() -> None:
    asks = {"type": "opened"}
    assert list(rule({"type": "mail_clicked"}, THANK, condition=asks).problems(ACCOUNT)) == []
    [problem] = rule(GOT, THANK, condition=asks).problems(ACCOUNT)
    assert "no sequence starts it" in problem


def test_they_run_in_the_order_in_which_they_were_made() -> None:
    second = rule(GOT, {"type": "points", "points": 1}, condition={"type": "has_tag", "tag": "Trial"})
    assert Reacted(rule(GOT, {"type": "assign_tag", "tag": "Trial"}), second).to(tag(1)).lead.score == 1
    assert Reacted(second, rule(GOT, {"type": "assign_tag", "tag": "Trial"})).to(tag(1)).lead.score == 0


def test_what_one_does_starts_another() -> None:
    chain = (
        rule(GOT, {"type": "assign_tag", "tag": "Trial"}),
        rule({"type": "assign_tag", "tag": "Trial"}, {"type": "points", "points": 7}),
        rule({"type": "reaches_score", "points": 7}, {"type": "start_sequence", "sequence": "Other", "step": "2"}),
    )
    reacted = Reacted(*chain).to(tag(1))
    assert reacted.lead.runs[2].step == "2"
    assert reacted.reaction.origins[-1] == "automation:3"


def test_a_circle_is_broken_off_and_told() -> None:
    there = rule({"type": "assign_tag", "tag": "Trial"}, {"type": "unassign_tag", "tag": "Trial"})
    back = rule({"type": "unassign_tag", "tag": "Trial"}, {"type": "assign_tag", "tag": "Trial"})
    reacted = Reacted(there, back).to(tag(2))
    assert reacted.kinds.count("automation_ran") == 2
    assert reacted.last(AutomationRefused) == AutomationRefused(1, automations.LOOP)
    assert automations.circles(reacted.account) == [["Rule 1", "Rule 2"]]
    assert "Rule 1 → Rule 2 → Rule 1" in automations.warnings(reacted.account)[0]


def test_one_that_starts_itself_runs_once() -> None:
    reacted = Reacted(rule({"type": "list_subscription"}, {"type": "unsubscribe_list", "list": "News"},
                           {"type": "subscribe_list", "list": "News"}))  # fmt: skip
    reacted.to(lambda lead: lead.join(1, NOON))
    assert reacted.kinds.count("automation_ran") == reacted.kinds.count("automation_refused") == 1


def test_that_a_circle_is_broken_off_is_told_once_of_an_event() -> None:
    again = [{"type": "assign_tag", "tag": "Trial"}, {"type": "unassign_tag", "tag": "Customer"}, GOT]
    reacted = Reacted(rule({"type": "assign_tag"}, *again)).to(tag(1))
    assert reacted.kinds.count("tag_assigned") == 3
    assert reacted.kinds.count("automation_refused") == 1


def test_so_many_in_a_row_and_so_many_at_once_are_the_most() -> None:
    tags = [f"T{number}" for number in range(20)]
    row = [rule({"type": "assign_tag", "tag": a}, {"type": "assign_tag", "tag": b}) for a, b in pairwise(tags)]
    lead = new_lead()
    account = account_with(*row)
    account = replace(account, tags={name_key(each): Tag(number, each) for number, each in enumerate(tags)})
    lead.tag(0)
    automations.react(lead, account, NOON, "cli")
    assert lead.tags == set(range(automations.MOST_DEEP + 1))
    assert sum(isinstance(event, AutomationRefused) for event in lead.events) == 1
    many = Reacted(*[rule({"type": "assign_tag"}, THANK)] * 150).to(tag(1))
    assert many.lead.score == automations.MOST_RUNS * 5


def test_what_an_account_has_no_longer_stops_one_action_and_no_other() -> None:
    reacted = Reacted(rule(GOT, {"type": "assign_tag", "tag": "Gone"}, THANK)).to(tag(1))
    assert reacted.lead.score == 5
    assert "Gone" in reacted.last(AutomationRefused).reason
    assert list(rule({"type": "assign_tag", "tag": "Gone"}, THANK).problems(ACCOUNT)) != []


def test_who_has_left_by_itself_is_not_brought_back() -> None:
    lead = new_lead()
    lead.lists[1] = Membership(NOON, NOON, left_by_lead=True)
    reacted = Reacted(rule(GOT, {"type": "subscribe_list", "list": "News"}), lead=lead).to(tag(1))
    assert not reacted.lead.lists[1].active


def test_a_sequence_is_left_and_its_mails_with_it() -> None:
    lead = new_lead()
    lead.enrol(1, "1", NOON)
    lead.runs[1] = msgspec.structs.replace(lead.runs[1], key=7)
    lead.events.clear()
    reacted = Reacted(rule(GOT, {"type": "stop_sequence", "sequence": "Welcome"}), lead=lead).to(tag(1))
    run = reacted.lead.runs[1]
    assert (run.status, run.mails_are_stopped(run.key)) == (RunStatus.UNSUBSCRIBED, True)


def test_a_person_is_told_once_what_happened() -> None:
    reacted = Reacted(rule(GOT, {"type": "notify", "to": "boss@shop.example", "text": "Ring them"})).to(tag(1))
    [notice] = reacted.reaction.notices
    assert (notice.action.to, notice.event) == ("boss@shop.example", "Got the tag Customer")


def test_none_that_is_switched_off_runs() -> None:
    reacted = Reacted(rule(GOT, THANK))
    [entry] = reacted.account.automations.values()
    off = replace(reacted.account, automations={"x": replace(entry, active=False)})
    assert (off.reactions, off.reaction_parts) == ({}, 0)
    assert replace(reacted.account, active=False).reactions == {}


def test_an_automation_is_told_in_one_sentence() -> None:
    told = rule(GOT, THANK, {"type": "notify", "to": "b@shop.example"}, condition=ON_NEWS).told()
    assert told == (
        "When the lead gets the tag Customer, and the lead is on the list News, "
        "then give 5 points and notify b@shop.example."
    )


SAMPLES: dict[str, dict[str, Any]] = {
    "tag": {"tag": "Customer"}, "list": {"list": "News"}, "sequence": {"sequence": "Welcome", "step": "1"},
    "points": {"points": 3, "days": 2}, "to": {"to": "b@shop.example"}, "field": {"field": "city"},
    "webhook": {"webhook": "CRM"},
}  # fmt: skip


@pytest.mark.parametrize("kind", [*TRIGGER_TYPES, *ACTION_TYPES], ids=lambda kind: str(kind.__struct_config__.tag))
def test_each_type_says_what_it_is(kind: type[msgspec.Struct]) -> None:
    names = [field.name for field in msgspec.structs.fields(kind)]
    values = {key: value for name in names for key, value in SAMPLES.get(name, {}).items() if key in names}
    made: Any = kind(**values)
    made.check(ACCOUNT)
    assert all(str(value) in made.told() for value in values.values())
    if values and all(field.default is None for field in msgspec.structs.fields(kind)):
        assert "any" in kind().told()  # type: ignore[attr-defined] # which all of them have
