"""How fast mail may leave: by a mail server in all, and by it for one receiving domain.

Each limit is one row with the moment until which it is used up, as in `ratelimits`. Who hands mails over has its rows
locked, so that the limits hold over all processes and starts.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from cartwheel.data import schema
from cartwheel.data.lanes import Insert, Lane, Select
from cartwheel.data.ratelimits import SECOND
from cartwheel.mail.smtpurl import Server
from cartwheel.sending.servers import domain_of
from cartwheel.times import from_micros, to_micros

FARTHEST = 3600 * SECOND
"""How far ahead mails are put off to places in the queue. Who raises a limit waits no longer than this for the effect."""

MOST_QUEUES = 10_000


class Limit(NamedTuple):
    """At most `most` messages in any `seconds`, for all with this name."""

    name: str
    most: int
    seconds: int

    @property
    def burst(self) -> int:
        """How many may come at once: some, so that nobody waits for single ones, but not all, which would be a jolt."""
        return max(1, self.most // 10)

    @property
    def each(self) -> int:
        """Microseconds from one to the next, once the burst is spent: then no stretch of time sees more than `most`."""
        return -(-self.seconds * SECOND // (self.most - self.burst + 1))


class Turn(NamedTuple):
    """Whether a message may go."""

    put_off: datetime | None
    """When to ask again, if not."""
    used: list[tuple[str, int]]
    """What has to be stored if so, by `USED`."""


def limits_of(server: Server, address: str) -> Sequence[Limit]:
    """All that a message to this address has to find a place in."""
    there = f"{server.name} to {domain_of(address)}"
    all_ = (
        Limit(f"{server.name} per second", server.per_second, 1),
        Limit(f"{server.name} per hour", server.per_hour, 3600),
        Limit(f"{there} per second", server.domain_per_second, 1),
        Limit(f"{there} per hour", server.domain_per_hour, 3600),
    )
    return [limit for limit in all_ if limit.most]


_LOCKED = Select(schema.send_limits, ("name", "until"), by=("name",), lock=True)
USED = Insert(schema.send_limits, update=("until",))
_MADE = Insert(schema.send_limits, update=("name",))


class SendLimits:
    """One for a process, which hands over in one transaction at a time."""

    def __init__(self) -> None:
        self._until: dict[str, int] = {}
        self._queue_ends: dict[str, int] = {}
        """Where the next mail that has to wait for a limit finds its place: behind all that wait already."""

    async def lock(self, lane: Lane, limits: Iterable[Limit]) -> None:
        """Learn, until the transaction ends, how far these are used; what was learned before is forgotten."""
        names = sorted({(limit.name,) for limit in limits})
        rows = await lane.fetch(_LOCKED, names)
        if len(rows) < len(names):
            missing = {name for (name,) in names}.difference(name for name, _ in rows)
            await lane.write(_MADE, [(name, 0) for name in sorted(missing)])
            rows = await lane.fetch(_LOCKED, names)
        self.learn(rows)

    def learn(self, rows: Iterable[tuple[str, int]]) -> None:
        self._until = dict(rows)

    def take(self, limits: Sequence[Limit], at: datetime) -> Turn:
        """Take a place in each of these, or in none. What has not been learned of has no place."""
        now = to_micros(at)
        slowest, longest = None, 0
        until: dict[str, int] = {}
        for limit in limits:
            room = limit.burst * limit.each
            spent = self._until.get(limit.name, now + room)
            if spent > now + room:  # the clock was set back since: one place is left, as if no time had passed
                spent = now + room - limit.each
            until[limit.name] = max(spent, now) + limit.each
            wait = until[limit.name] - now - room
            if wait > longest:
                slowest, longest = limit, wait
        if slowest is not None:
            return Turn(self._put_off(slowest, now, longest), [])
        self._until |= until
        return Turn(None, list(until.items()))

    def _put_off(self, limit: Limit, now: int, wait: int) -> datetime:
        end = self._queue_ends.get(limit.name, 0)
        if end > now + FARTHEST + limit.each:  # the clock was set back since
            end = 0
        place = max(now + wait, end)
        if place > now + FARTHEST:
            return from_micros(now + FARTHEST)
        if len(self._queue_ends) > MOST_QUEUES:
            self._queue_ends = {name: end for name, end in self._queue_ends.items() if end > now}
        self._queue_ends[limit.name] = place + limit.each
        return from_micros(place)
