"""Random histories of an account, told to the server and to the model: every answer, every lead, every event."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from random import Random
from typing import Any, ClassVar

import pytest
from account import HISTORIES, Account, housekeeping
from calls import EMAILS, STYLES, Dice, Encoded
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from vocabulary import ERRORS, SUCCESSES, Lead

from cartwheel.leads.events import KINDS
from cartwheel.work.batches import Work
from cartwheel.work.leadwork import DeletionWork
from harness import Server

IN_SUITE = 30
STEPS = 40
ZONES = ("America/New_York", "Asia/Kathmandu", "Pacific/Auckland")
AGAIN = {"tag_assigned": "tag", "list_joined": "list", "sequence_joined": "sequence", "points_expired": "points"}
HOURS = (1, 12, 23, 24, 25, 24 * 31)
SERVER_LASTS = 500
"""Histories on one server: every one makes an account, and a server knows all of its accounts by heart."""


class History(RuleBasedStateMachine):
    """One account's life."""

    new_server: ClassVar[Callable[[], Server]]
    calls_made: ClassVar[int] = 0
    histories: ClassVar[int] = 0
    told: ClassVar[set[str]]
    """The numbers of all answers."""
    happened: ClassVar[set[str]]
    """The kinds of all events."""

    @initialize(
        test_mode=st.booleans(),
        gdpr=st.booleans(),
        zone=st.sampled_from(ZONES),
    )
    def open_account(self, *, test_mode: bool, gdpr: bool, zone: str) -> None:
        type(self).histories += 1
        self.server = type(self).new_server()
        self.account = Account(self.server, test_mode=test_mode, gdpr=gdpr, zone=zone)
        self.sent: list[tuple[Encoded, str]] = []
        for email in EMAILS[:2]:
            self.account.send(
                self.account.encode({"lead": {"email": email}, "actions": [{"cmd": "create_lead"}]}, "json"), None
            )

    @rule(numbers=st.lists(st.integers(0, 1 << 32), min_size=1, max_size=8))
    def make_calls(self, numbers: list[int]) -> None:
        for number in numbers:
            type(self).calls_made += 1
            dice = Dice(number)
            sent = self.account.encode(dice.call(), dice.one_of(STYLES))
            key = f"key-{dice.one_of('abcdefgh')}" if dice.once_in(6) else None
            type(self).told |= numbers_in(self.account.send(sent, key))
            if key:
                self.sent.append((sent, key))

    @precondition(lambda self: self.sent)
    @rule(n=st.integers(0, 50))
    def repeat_a_call(self, n: int) -> None:
        self.account.send(*self.sent[n % len(self.sent)])

    @rule(hours=st.sampled_from(HOURS), microseconds=st.sampled_from([0, 0, 1]))
    def let_time_pass(self, hours: int, microseconds: int) -> None:
        self.server.clock.forward(hours=hours, microseconds=microseconds)
        housekeeping(self.server)

    @rule(n=st.integers(0, 3), deleted=st.booleans())
    def delete_or_restore(self, n: int, deleted: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        leads = self.account.model.state.leads
        lead = leads[n % len(leads)]
        if lead.deleted is deleted:
            return
        lead.deleted = deleted
        if deleted:
            self.account.model.leave_sequences(lead)
        lead.tell("lead_deleted" if deleted else "lead_restored")
        key = (self.account.api.account_id, int(str(lead.id.known)))
        work: Work[bool] = DeletionWork(key, deleted=deleted, origin="tests")
        self.server.run(lambda: self.server.application.batches.submit(work))

    def teardown(self) -> None:
        if hasattr(self, "account"):
            with closing(self.account):
                self.account.check()
                for lead in self.account.model.state.leads:
                    type(self).happened |= {kind for kind, _ in lead.events} | again(lead)


def numbers_in(answer: Any) -> set[str]:
    elements = [element for action in answer.get("actions", []) for element in action.values()]
    return {part["type"] for part in (answer, *elements) if "type" in part}


def again(lead: Lead) -> set[str]:
    """What happened to it more than once with the same tag, list or sequence."""
    told = Counter((kind, details.get(AGAIN[kind])) for kind, details in lead.events if kind in AGAIN)
    return {f"{kind} again" for (kind, _), times in told.items() if times > 1}


def live(history: History, dice: Random) -> None:
    """A history of which nothing is left to a library's taste: calls that hardly ever repeat each other."""
    history.open_account(test_mode=dice.random() < 0.3, gdpr=dice.random() < 0.5, zone=dice.choice(ZONES))
    for _ in range(STEPS):
        step = dice.choice(["calls"] * 5 + ["repeat", "time", "delete", "restore"])
        if step == "calls":
            history.make_calls(numbers=[dice.getrandbits(40) for _ in range(dice.randint(1, 3))])
        elif step == "repeat" and history.sent:
            history.repeat_a_call(n=dice.randrange(50))
        elif step == "time":
            history.let_time_pass(hours=dice.choice(HOURS), microseconds=dice.choice([0, 0, 1]))
        else:
            history.delete_or_restore(n=dice.randrange(4), deleted=step == "delete")
    history.teardown()


@pytest.fixture
def new_server(server: Server, engine: str, databases: Any) -> Iterator[Callable[[], Server]]:
    """The session's server; in a long run a new one from time to time."""
    own: list[Server] = []

    def get() -> Server:
        if not HISTORIES:
            return server
        if next(accounts) % SERVER_LASTS == 0:
            for old in own:
                old.stop()
            own[:] = [Server(databases.migrated(engine))]
        return own[0]

    accounts = count()
    yield get
    for running in own:
        running.stop()


def test_random_histories_go_as_the_model_says(
    new_server: Callable[[], Server], engine: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    class Run(History):
        told: ClassVar[set[str]] = set()
        happened: ClassVar[set[str]] = set()

    Run.new_server = staticmethod(new_server)
    if HISTORIES:
        search_at_length(Run)
    else:
        for number in range(IN_SUITE):
            try:
                live(Run(), Random(f"history {number}"))
            except Exception as failure:
                failure.add_note(f"in history {number}")
                raise
    record_testsuite_property(f"{engine}: histories", Run.histories)
    record_testsuite_property(f"{engine}: calls in them", Run.calls_made)
    assert {*ERRORS, *(number for number, _ in SUCCESSES.values() if number)} <= Run.told
    assert {*(set(KINDS) - NOT_BY_CALLS), *(f"{kind} again" for kind in AGAIN)} == Run.happened


NOT_BY_CALLS = {
    "automation_ran", "automation_refused", "automation_skipped", "consent_changed", "lead_erased", "lead_merged", "lead_merged_into", "lead_suppressed", "list_refused", "mail_bounced", "mail_clicked", "mail_not_sent",
    "mail_opened", "mail_sent", "sequence_completed", "sequence_moved", "sequence_parked", "sequence_refused",
    "sequence_unparked", "suppression_lifted", "tracking_changed", "webhook_called",
}  # fmt: skip
"""What only the worker, the lead itself and owners can cause; and rules of entry and automations, which these are without."""


def search_at_length(machine: type[History]) -> None:
    """Any number of other histories; those that fail are made small."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=STEPS,
            phases=(Phase.generate, Phase.shrink),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
