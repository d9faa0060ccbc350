"""An account, a lead and a flow, as the pure tests of the engine need them."""

from collections.abc import Sequence as Steps
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from cartwheel.accounts import Account, CustomField, FieldType, MailingList, Option, Sequence, Tag, name_key
from cartwheel.hooks.outbound import AUTOMATION, Endpoint
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Enrolment, Gdpr
from cartwheel.sequences.flows import Flow, advance
from cartwheel.sequences.steps import AnyStep

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday

MAIL = {"type": "email", "subject": "Hello", "html": "<p>Hello</p>"}

ACCOUNT = Account(
    id=1,
    name="Demo",
    zone=ZoneInfo("Europe/Madrid"),
    gdpr=False,
    active=True,
    lists={name_key("News"): MailingList(1, "News", "")},
    tags={name_key(tag): Tag(number, tag) for number, tag in enumerate(["Customer", "Trial"], 1)},
    sequences={
        name_key(name): Sequence(number, name, boxes=("1", "2"), version=1)
        for number, name in enumerate(["Welcome", "Other"], 1)
    },
    fields={"plan": CustomField(1, "plan", FieldType.DROP_DOWN, (Option(7, "Gold"), Option(8, "Silver")))},
    hooks=(Endpoint(1, "CRM", "https://crm.example/", enabled=True, secret="", events={AUTOMATION: None}),),
)


def flow(*steps: dict[str, Any]) -> Flow:
    """Steps as an account file has them; boxes are numbered where none is given."""
    numbered = [{"box": str(number), **step} for number, step in enumerate(steps, 1)]
    return Flow(tuple(msgspec.convert(numbered, list[AnyStep])))


class Walk:
    """One lead in the sequence Welcome."""

    def __init__(self, *steps: dict[str, Any], lead_id: int = 1, account: Account = ACCOUNT) -> None:
        self.flow = flow(*steps)
        self.account = account
        self.now = NOON
        self.lead = Lead.create(1, lead_id, "ada@shop.example", NOON, source="api", test=False, gdpr=Gdpr.OFF)
        self.lead.events.clear()
        self.lead.enrol(1, self.flow.steps[0].box, self.now, version=1)
        self.go()

    @property
    def run(self) -> Enrolment:
        return self.lead.runs[1]

    @property
    def mailed(self) -> Steps[str]:
        """The boxes whose mails were queued, in order."""
        return [mail.box for mail in self.lead.outgoing]

    def go(self, **later: float) -> "Walk":
        """Let time pass, waking the run whenever it is due."""
        end = self.now + timedelta(**later)
        while self.run.due_at is not None and self.run.due_at <= end:
            self.now = max(self.now, self.run.due_at)
            advance(self.lead, 1, self.flow, self.account, self.now)
        self.now = end
        return self

    def wake(self) -> "Walk":
        """An event woke the run."""
        self.lead.runs[1] = msgspec.structs.replace(self.run, due_at=self.now)
        return self.go()
