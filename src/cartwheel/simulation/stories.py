"""What a simulation tells: the story of one lead, and what became of many. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from cartwheel.accounts import Account
from cartwheel.errors import CartwheelError
from cartwheel.leads.lead import Lead


class BadSimulation(CartwheelError):
    """There is nothing like this to simulate."""


class What(StrEnum):
    """What a line of a story is about."""

    REFUSED = "refused"
    STARTS = "starts"
    WAITS = "waits"
    MAIL = "mail"
    NO_MAIL = "no mail"
    DOES = "does"
    GOES = "goes"
    WHAT_IF = "what if"
    ENDS = "ends"


class Happening(NamedTuple):
    """A line of a story. `at` is in the account's zone."""

    at: datetime
    sequence: str
    box: str
    what: What
    text: str


class StoryMail(NamedTuple):
    """A mail that the lead gets. `at` is in the account's zone."""

    at: datetime
    sequence: str
    box: str
    subject: str
    html: str
    text: str

    def as_data(self) -> dict[str, Any]:
        return {**self._asdict(), "at": self.at.isoformat()}


class Ended(StrEnum):
    """How a story ends."""

    COMPLETED = "completed"
    LEFT = "left"
    PARKED = "parked"
    WAITING = "waiting"
    """Nothing more happens unless something happens to the lead."""
    TIME_IS_UP = "time is up"


@dataclass
class Story:
    """What happens to one lead; `reason` says what it waits for at the end, or why it is parked."""

    account: Account
    sequence: str
    lead: Lead
    start: datetime
    until: datetime
    ended_at: datetime
    events: list[Happening] = field(default_factory=list)
    mails: list[StoryMail] = field(default_factory=list)
    visits: list[tuple[str, str]] = field(default_factory=list)
    """(sequence, box), in order."""
    notes: list[str] = field(default_factory=list)
    """What somebody who reads it should know."""
    ended: Ended = Ended.TIME_IS_UP
    reason: str = ""

    def as_data(self) -> dict[str, Any]:
        return {
            "account": self.account.name,
            "sequence": self.sequence,
            "email": self.lead.email,
            "from": self.start.isoformat(),
            "until": self.until.isoformat(),
            "events": [{**event._asdict(), "at": event.at.isoformat()} for event in self.events],
            "mails": [mail.as_data() for mail in self.mails],
            "ended": {"how": self.ended, "at": self.ended_at.isoformat(), "reason": self.reason},
            "notes": self.notes,
        }

    def mails_of(self, box: str) -> list[StoryMail]:
        """Those that a step of the sequence sent. Raises `BadSimulation`."""
        found = [mail for mail in self.mails if (mail.sequence, mail.box) == (self.sequence, box)]
        if not found:
            sent = list(dict.fromkeys(mail.box for mail in self.mails if mail.sequence == self.sequence))
            raise BadSimulation(f"the lead gets no mail of step {box}, but of {', '.join(sent) or 'none'}")
        return found

    @property
    def boxes(self) -> list[str]:
        """The steps of the sequence that the lead came to, in order."""
        return [box for sequence, box in self.visits if sequence == self.sequence]

    @property
    def tags(self) -> set[str]:
        """Those that the lead has in the end."""
        names = self.account.tag_names
        return {names[number] for number in self.lead.tags if number in names}

    @property
    def lists(self) -> set[str]:
        """Those that the lead is on in the end."""
        names = self.account.list_names
        return {names[number] for number, place in self.lead.lists.items() if place.active and number in names}


@dataclass
class Tally:
    """What became of many leads; `boxes` are the (sequence, box)es that they may come to."""

    boxes: list[tuple[str, str]]
    leads: int = 0
    came: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many came to each (sequence, box), each counted once."""
    mails: Counter[tuple[str, str]] = field(default_factory=Counter)
    ended: Counter[Ended] = field(default_factory=Counter)

    def add(self, story: Story) -> None:
        self.leads += 1
        self.came.update(set(story.visits))
        self.mails.update((mail.sequence, mail.box) for mail in story.mails)
        self.ended[story.ended] += 1

    def as_data(self) -> dict[str, Any]:
        return {
            "leads": self.leads,
            "steps": [
                {"sequence": place[0], "box": place[1], "came": self.came[place], "mails": self.mails[place]}
                for place in self.boxes
            ],
            "ended": dict(self.ended),
        }
