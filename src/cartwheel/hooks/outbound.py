"""What other systems can be told, and to whom an account tells it: the closed set of outbound events, one row each. Pure."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from cartwheel.leads import events
from cartwheel.leads.events import Event, Names

LONGEST_URL = 2000
MOST_EVENTS = 20


class Outbound(NamedTuple):
    """An event under Kartra's name. `about` is the kind of thing it is about, and the name of the object that tells it;
    empty for the score. `hears` is the kind of our own event that causes it.
    """

    action: str
    about: str
    hears: str
    doc: str

    @property
    def narrows(self) -> bool:
        """Whether an endpoint may be told of one thing only. An automation names the endpoint itself."""
        return self.about not in {"", "automation"}


def _row(action: str, about: str, event: type[Event], doc: str) -> Outbound:
    return Outbound(action, about, event.kind, doc)


REACHES_SCORE = "reaches_score"
AUTOMATION = "automation"

OUTBOUND: Mapping[str, Outbound] = {
    row.action: row
    for row in (
        _row("assign_tag", "tag", events.TagAssigned, "The lead got a tag."),
        _row("unassign_tag", "tag", events.TagUnassigned, "The lead lost a tag."),
        _row("list_subscription", "list", events.ListJoined, "The lead was subscribed to a list."),
        _row("list_unsubscription", "list", events.ListLeft, "The lead was unsubscribed from a list."),
        _row("sequence_subscription", "sequence", events.SequenceJoined, "The lead was subscribed to a sequence."),
        _row("sequence_unsubscription", "sequence", events.SequenceLeft, "The lead was unsubscribed from a sequence."),
        _row("sequence_completion", "sequence", events.SequenceCompleted, "The lead came to the end of a sequence."),
        _row(REACHES_SCORE, "", events.PointsGiven, "The lead's score reached a number of points for the first time."),
        _row(AUTOMATION, "automation", events.WebhookCalled, "An automation tells this webhook of the lead."),
    )
}
"""By action. The reference page, the page's form and the checks of account files are derived from it."""

_BY_KIND = {row.hears: row for row in OUTBOUND.values()}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that is told what happens. `events` are the actions that it is told, each with the number of the only
    list, tag or sequence that counts, or None for all of them.
    """

    id: int
    name: str
    url: str
    enabled: bool
    secret: str
    events: Mapping[str, int | None]
    score: int = 0
    """The points at which `reaches_score` is told."""
    numbers_as_strings: bool = False
    not_from: tuple[str, ...] = ()
    """The origins (of Apps) whose doings it is not told."""
    created_at: datetime | None = None


class Told(NamedTuple):
    """An endpoint that is to be told of an event. `points` is the score that was reached, of `reaches_score`."""

    endpoint: Endpoint
    action: str
    details: Mapping[str, Any]
    points: int | None = None


def told_of(
    endpoints: Iterable[Endpoint], happened: Iterable[Event], origin: str, names: Names, score: int
) -> Iterator[tuple[Told, ...]]:
    """For each event, who is told. `score` is the lead's after all of them.

    Whether a score was reached for the first time, only the lead's ledger knows: those are candidates.
    """
    listening = [endpoint for endpoint in endpoints if endpoint.enabled and origin not in endpoint.not_from]
    happened = list(happened)
    score -= sum(_points(event) for event in happened)
    for event in happened:
        before, score = score, score + _points(event)
        row = _BY_KIND.get(event.kind)
        if row is None:
            yield ()
        elif row.action == REACHES_SCORE:
            yield tuple(
                Told(endpoint, row.action, {"points": endpoint.score}, endpoint.score)
                for endpoint in listening
                if row.action in endpoint.events and before < endpoint.score <= score
            )
        else:
            number, name = subject(row, event, names)
            details = {row.about: {f"{row.about}_id": number, f"{row.about}_name": name}}
            yield tuple(
                Told(endpoint, row.action, details)
                for endpoint in listening
                if row.action in endpoint.events and endpoint.events[row.action] in {None, number}
                if not isinstance(event, events.WebhookCalled) or event.webhook_id == endpoint.id
            )


def _points(event: Event) -> int:
    if isinstance(event, events.PointsGiven):
        return event.points
    return -event.points if isinstance(event, events.PointsRemoved | events.PointsExpired) else 0


def subject(row: Outbound, event: Event, names: Names) -> tuple[int, str]:
    """The number and the name of what the event is about."""
    number: int = getattr(event, f"{row.about}_id")
    return number, named(row, names).get(number, "")


def named(row: Outbound, names: Names) -> Mapping[int, str]:
    """All things of the kind that the event is about, by number."""
    found: Mapping[int, str] = getattr(names, f"{row.about}s")
    return found


def highest(ledger: Iterable[tuple[int, int, int, int | None]]) -> int:
    """The highest score that a lead ever had, of its grants: number, points, when they were given and taken back."""
    changes = []
    for number, points, given_at, reversed_at in ledger:
        changes.append((given_at, 1, number, points))
        if reversed_at is not None:
            changes.append((reversed_at, 0, number, -points))
    score = most = 0
    for *_, points in sorted(changes):
        score += points
        most = max(most, score)
    return most


SHORTEST_SECRET, LONGEST_SECRET = 16, 64
"""Bytes."""


def wrong_secret(secret: str) -> str:
    """What is wrong with what deliveries are signed with; empty if nothing is."""
    try:
        text = secret.removeprefix("whsec_").rstrip("=")
        size = len(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except ValueError:
        size = 0
    if SHORTEST_SECRET <= size <= LONGEST_SECRET:
        return ""
    return f"it has to be `whsec_` and {SHORTEST_SECRET} to {LONGEST_SECRET} bytes in base64"


_PRINTABLE = range(0x21, 0x7F)


def wrong_url(url: str) -> str:
    """What is wrong with a target; empty if nothing is. Whether it may be called, is only known when it is."""
    if len(url) > LONGEST_URL:
        return f"at most {LONGEST_URL:,} characters"
    if not all(ord(letter) in _PRINTABLE for letter in url):
        return "only ASCII without spaces: write a name with other letters as xn--…, and others as %XX"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "it is no URL"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "it has to begin with http:// or https:// and name a host"
    if parts.username is not None or parts.password is not None:
        return "no user and password before the host: put a secret into the query"
    if parts.fragment or port == 0:
        return "no # and no port 0"
    return ""
