"""What /v1 takes and answers, as its server and its client know it. Pure: plain values and their bounds."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from cartwheel.accounts import FIELD_IDENTIFIER, LONGEST_NAME, FieldType

MOST_ROWS = 200
USUAL_ROWS = 50
MOST_IN_BULK = 100
LONGEST_FIELD = 1000
LONGEST_TEXT = 65_535
MOST_NAMES = 100
LARGEST_ID = (1 << 53) - 1


def _says(text: str) -> Any:
    return Meta(description=text)


Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME, pattern=r"\S")]
Address = Annotated[str, Meta(min_length=3, max_length=320, description="An e-mail address.")]
Number = Annotated[int, Meta(ge=1, le=LARGEST_ID)]
Names = Annotated[list[Name], Meta(max_length=MOST_NAMES)]


class Sent(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Something that a caller sends."""


class Told(msgspec.Struct, kw_only=True):
    """Something that a caller is answered."""


# -- lists, tags, fields --


class NewList(Sent):
    name: Annotated[Name, _says("What you call it.")]
    public_name: Annotated[str, Meta(max_length=LONGEST_NAME, description="What contacts see.")] = ""


class ListChange(Sent):
    """What is not sent stays."""

    name: Name | None = None
    public_name: Annotated[str, Meta(max_length=LONGEST_NAME)] | None = None


class ListRecord(Told):
    id: int
    name: str
    public_name: str


class ListPage(Told):
    lists: list[ListRecord]


class NewTag(Sent):
    name: Name


class TagRecord(Told):
    id: int
    name: str


class TagPage(Told):
    tags: list[TagRecord]


class NewField(Sent):
    identifier: Annotated[str, Meta(pattern=f"^{FIELD_IDENTIFIER}$", max_length=100)]
    type: FieldType
    options: Annotated[
        list[Name], Meta(max_length=250, description="Of the three types to choose from, two or more; else none.")
    ] = []


class FieldChange(Sent):
    """What is not sent stays. Leads keep their values."""

    identifier: Annotated[str, Meta(pattern=f"^{FIELD_IDENTIFIER}$", max_length=100)] | None = None
    add_options: Annotated[list[Name], Meta(max_length=250, description="Below those that it has.")] = []


class OptionRecord(Told):
    id: int
    name: str


class FieldRecord(Told):
    id: int
    identifier: str
    type: FieldType
    options: list[OptionRecord]


class FieldPage(Told):
    fields: list[FieldRecord]


class Gone(Told):
    """What was deleted; on the page it can be taken back for 30 days."""

    id: int
    deleted: Literal[True] = True


# -- sequences --


class SequenceText(Sent):
    text: Annotated[
        str,
        Meta(max_length=900_000, description="`[[sequences]]` and their steps as an account file has them, in TOML."),
    ]


class SequenceRecord(Told):
    id: int
    name: str
    public_name: str
    version: Annotated[int, _says("The one that leads start with; 0 before the first is published.")]
    boxes: Annotated[list[str], _says("The labels of its steps.")]
    paused: bool
    archived: bool


class SequencePage(Told):
    sequences: list[SequenceRecord]


class FindingRecord(Told):
    box: str
    text: str
    stops: Annotated[bool, _says("Whether it keeps the sequence from being published.")]


class WholeSequence(Told):
    sequence: SequenceRecord
    text: Annotated[str, _says("The draft, or what is published if there is none, as an account file has it.")]
    changed: Annotated[bool, _says("Whether the text is a draft that was not published.")]
    findings: list[FindingRecord]


class SequencesTaken(Told):
    sequences: Annotated[list[WholeSequence], _says("Their drafts: nothing runs before it is published.")]


class Published(Told):
    sequence: SequenceRecord
    changed: Annotated[bool, _says("False if the version runs already.")]
    findings: list[FindingRecord]


# -- leads --

FieldText = Annotated[str, Meta(max_length=LONGEST_FIELD)]
FieldValue = Annotated[str, Meta(max_length=LONGEST_TEXT)] | Number | list[Name | Number]


class Start(Sent):
    sequence: Name
    step: Annotated[str, Meta(max_length=100, description="A box label; the first step if empty.")] = ""


class LeadChange(Sent):
    """Who it is, and what is to be done: `id`, or `email`. With both, the lead of that id gets this address.

    What is not sent stays. Without an `id`, a lead that is not there is made.
    """

    id: Number | None = None
    email: Address | None = None
    fields: Annotated[dict[str, FieldText], _says("Built-in fields by name: `first_name`, `city`, …")] = {}
    custom_fields: Annotated[
        dict[str, FieldValue],
        _says(
            "By identifier: a text; of a choice the name or id of an option, or a list of them; an empty text clears."
        ),
    ] = {}
    add_tags: Names = []
    remove_tags: Names = []
    join_lists: Names = []
    leave_lists: Names = []
    points: Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000, description="To give, or below 0 to take.")] = 0
    points_days: Annotated[
        int, Meta(ge=0, le=1_000_000, description="After so many days the points are taken back; 0 for never.")
    ] = 0
    start_sequences: Annotated[list[Start], Meta(max_length=MOST_NAMES)] = []
    stop_sequences: Names = []
    agreed: Annotated[
        bool | None, _says("Whether the person agrees to commercial mail; say so only if you can prove it.")
    ] = None


class Change(Told):
    kind: Annotated[str, _says("An event, as the reference of events lists them.")]
    text: str


class LeadChanged(Told):
    id: Annotated[int | None, _says("None in a dry run in which the lead would be made.")]
    email: str
    created: bool
    changes: Annotated[list[Change], _says("What happened to the lead; empty if it was all so already.")]


class BulkChange(Sent):
    leads: Annotated[list[LeadChange], Meta(min_length=1, max_length=MOST_IN_BULK)]


class ProblemPlace(Told):
    pointer: str
    detail: str


class ProblemRecord(Told, omit_defaults=True):
    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[ProblemPlace] = []


class BulkItem(Told, omit_defaults=True):
    """Of each lead that was sent, in that order: what happened, or why nothing did."""

    status: int
    lead: LeadChanged | None = None
    problem: ProblemRecord | None = None


class BulkChanged(Told):
    items: list[BulkItem]


class OnListRecord(Told):
    name: str
    active: bool
    joined_at: datetime
    left_at: datetime | None


class RunRecord(Told):
    name: str
    step: str
    status: str
    started_at: datetime
    ended_at: datetime | None


class ConsentRecord(Told):
    status: str
    at: datetime | None
    communications: bool


class LeadRecord(Told):
    id: int
    email: str
    created_at: datetime
    deleted_at: datetime | None
    source: str
    test: bool
    score: int
    fields: Annotated[dict[str, str], _says("Built-in fields that are not empty.")]
    custom_fields: Annotated[dict[str, str | list[str]], _says("Those with a value; of a choice its options' names.")]
    tags: list[str]
    lists: list[OnListRecord]
    sequences: list[RunRecord]
    consent: ConsentRecord
    not_mailed: Annotated[str, _says("Why its address is not mailed; empty if it is.")]


class LeadRow(Told):
    id: int
    email: str
    name: str
    score: int
    created_at: datetime
    deleted_at: datetime | None
    test: bool
    tags: list[str]
    not_mailed: str


class LeadPage(Told):
    leads: list[LeadRow]
    after: Annotated[str | None, _says("For the next page; null after the last one.")]
    about: Annotated[int, _says("How many there are of them.")]
    exact: Annotated[bool, _says("Whether that many exactly, or only about.")]


class LeadGone(Told):
    id: int
    deleted: bool
    changed: bool


class MailRecord(Told):
    id: int
    sequence: str
    step: str
    state: str
    queued_at: datetime
    sent_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    reply: Annotated[str, _says("What the mail server said, or why it was not sent.")]


class MailPage(Told):
    mails: Annotated[list[MailRecord], _says("Newest first.")]
    after: str | None


class FactRecord(Told):
    about: str
    text: str
    stops: Annotated[bool, _says("Whether it keeps mail from the lead.")]


class WhyRecord(Told):
    email: str
    facts: list[FactRecord]


# -- events, suppressions --


class EventRecord(Told):
    id: int
    lead: int
    at: datetime
    kind: str
    details: dict[str, Any]
    text: str
    origin: Annotated[str, _says("Who did it: an App, a token, a person, a sequence, …")]


class EventPage(Told):
    events: Annotated[list[EventRecord], _says("In the order in which they happened.")]
    after: Annotated[str, _says("Where to go on, now or later.")]
    more: Annotated[bool, _says("Whether there are more already.")]


class NewSuppression(Sent):
    email: Address
    reason: Literal["do not contact", "complaint", "hard bounce", "repeated soft bounces"] = "do not contact"
    details: Annotated[str, Meta(max_length=500)] = ""


class SuppressionRecord(Told):
    email: str
    reason: str
    at: datetime
    details: str


class SuppressionPage(Told):
    suppressions: Annotated[list[SuppressionRecord], _says("Newest first.")]
    after: str | None


class Lifted(Told):
    email: str
    reason: Annotated[str, _says("Why it was not mailed.")]
