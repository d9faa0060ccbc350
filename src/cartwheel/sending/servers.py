"""Several mail servers: which one a sender's mail leaves by, and whether it may be used just now.

What is known of a server's health is this process's own: another may reach it by another way.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from cartwheel.bounces.reports import without_addresses
from cartwheel.mail.outgoing import Outgoing
from cartwheel.mail.replies import Fate, Outcome, Phase
from cartwheel.mail.smtpurl import Route, Server
from cartwheel.sending.smtp import Pool, Transport

log = logging.getLogger(__name__)

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=15)

LOSSES_IN_A_ROW = 3
"""So many lost connections open the breaker; a server that cannot be reached opens it at once."""

SUSPECTS_IN_A_ROW = 3
"""So many recipients, and none accepted in between, make a server's what each of them was refused for (`suspect`)."""

TRIAL_WAIT_S = 5.0
"""When to ask again while another message tries whether the server is back."""

ENOUGH_UNDER_WAY = 100
"""So many messages may be under way for a server, those that wait for a connection among them; or two a connection."""

NEXT_LOOK = timedelta(seconds=2)
"""When to ask again while a server has enough under way; further messages after it, one by one, `GAP` apart."""

GAP = timedelta(milliseconds=10)
"""A server that holds mail up is slower than this, so that it is never idle, and what waits is not looked at in vain."""


# -- whether --


class Breaker:
    """Keeps mail away from a server that is in trouble: for pauses that grow, each ended by one message on trial."""

    def __init__(self) -> None:
        self.parked_until: datetime | None = None
        """None while the server is in use; over or not, it stays until a trial has succeeded."""
        self.trouble_since: datetime | None = None
        """When it was parked first, if no trial has succeeded since."""
        self.quota = False
        """It was parked because it has taken all that it will take for hours."""
        self.last_error = ""
        self.last_error_at: datetime | None = None
        self._pause = FIRST_PAUSE
        self._losses = 0
        self._suspects: set[str] = set()
        self._on_trial = False
        self._era = 1

    def wait_s(self, now: datetime) -> float:
        if self.parked_until is None:
            return 0
        if self._on_trial:
            return TRIAL_WAIT_S
        return max(0.0, (self.parked_until - now).total_seconds())

    def enter(self, now: datetime) -> int | None:
        """The ticket with which to report what became of the message; None when it may not go."""
        if self.wait_s(now) > 0:
            return None
        if self.parked_until is not None:
            self._on_trial = True
            self._era += 1
        return self._era

    def report(self, outcome: Outcome, ticket: int, now: datetime, *, to: str = "") -> None:
        """What a message `to` somebody met counts only if the breaker has not moved since it set out."""
        in_trouble = outcome.fate is Fate.SERVER_TROUBLE
        if in_trouble or outcome.unanswered or outcome.suspect:
            self.last_error, self.last_error_at = outcome.text, now
        if ticket != self._era:
            return
        if outcome.phase is Phase.CHECK:
            self._on_trial = False
        elif in_trouble or outcome.unanswered:
            self._losses += 1
            if in_trouble or self._on_trial or self._losses >= LOSSES_IN_A_ROW:
                self._park(now, quota=outcome.quota)
        elif self._is_meant(outcome, to):
            self._park(now)
        else:
            self._recover()

    def _is_meant(self, outcome: Outcome, to: str) -> bool:
        """Whether it is the server that refuses, and not once more the same few recipients who are refused."""
        if outcome.suspect:
            self._suspects.add(to)
        elif outcome.fate is Fate.ACCEPTED:
            self._suspects.clear()
        return outcome.suspect and len(self._suspects) >= SUSPECTS_IN_A_ROW

    def give_back(self, ticket: int) -> None:
        """The message was called off."""
        if ticket == self._era:
            self._on_trial = False

    def _park(self, now: datetime, *, quota: bool = False) -> None:
        self.parked_until = now + (LONGEST_PAUSE if quota else self._pause)
        self.quota = quota
        self.trouble_since = self.trouble_since or now
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._move()

    def _recover(self) -> None:
        if self.parked_until is not None:
            self.parked_until = self.trouble_since = None
            self._pause = FIRST_PAUSE
            self._move()
        self._losses = 0

    def _move(self) -> None:
        self._losses = 0
        self._on_trial = False
        self._era += 1


# -- which --

_EVER = datetime.max.replace(tzinfo=UTC)


class Post:
    """One server and all that belongs to it."""

    def __init__(self, server: Server, transport: Transport, *, clock: Callable[[], datetime]) -> None:
        self.server = server
        self.breaker = Breaker()
        self.transport = transport
        self._clock = clock
        self._room = asyncio.Semaphore(server.connections)
        self._stopping = False
        self._last_look = clock()
        self.under_way = 0
        """How many messages whoever sends by it has taken in hand."""
        self.passed_by = False
        """It has had enough under way for so long that it gets no more until some are done."""

    @property
    def name(self) -> str:
        return self.server.name

    def open_until(self, now: datetime) -> datetime | None:
        """When to ask again, if no message may go there now."""
        wait_s = self.breaker.wait_s(now)
        return now + timedelta(seconds=wait_s) if wait_s else None

    @property
    def is_full(self) -> bool:
        return self.under_way >= max(ENOUGH_UNDER_WAY, 2 * self.server.connections)

    def next_look(self, now: datetime) -> datetime:
        """When to ask again, for one message that finds it passed by."""
        self._last_look = max(self._last_look + GAP, now + NEXT_LOOK)
        return self._last_look

    def stop(self) -> None:
        """Begin nothing more: who waits for a connection comes back untouched, at once."""
        self._stopping = True
        for _ in range(self.under_way):
            self._room.release()

    async def send(
        self,
        message: Outgoing,
        on_final_dot: Callable[[], None] | None = None,
        *,
        until: datetime = _EVER,
    ) -> Outcome:
        """A message comes back untouched when the server is parked, or when it could not be finished with by `until`."""
        async with self._room:
            return await self._send(message, on_final_dot, until)

    async def _send(self, message: Outgoing, on_final_dot: Callable[[], None] | None, until: datetime) -> Outcome:
        if self._stopping:
            return Outcome(Fate.SERVER_TROUBLE, Phase.CHECK, "whoever was to send it was told to stop")
        now = self._clock()
        if now > until - self.server.longest:
            return Outcome(Fate.SERVER_TROUBLE, Phase.CHECK, f"waited for too long for its turn at {self.name}")
        ticket = self.breaker.enter(now)
        if ticket is None:
            why = f"{self.name} is not in use at the moment: {self.breaker.last_error}"
            return Outcome(Fate.SERVER_TROUBLE, Phase.CHECK, why, quota=self.breaker.quota)
        try:
            outcome = await self.transport.send(message, on_final_dot)
        except BaseException:
            self.breaker.give_back(ticket)
            raise
        self._report(outcome, ticket, to=message.to)
        return outcome

    def _report(self, outcome: Outcome, ticket: int, *, to: str) -> None:
        """Tell the breaker, and the log if that opens or closes it."""
        before = self.breaker.parked_until
        self.breaker.report(outcome, ticket, self._clock(), to=to)
        if before is None and self.breaker.parked_until is not None:
            log.warning("%s is left alone for now: %s", self.name, without_addresses(self.breaker.last_error))
        elif before is not None and self.breaker.parked_until is None:
            log.info("%s is in use again after: %s", self.name, without_addresses(self.breaker.last_error))


class Servers:
    """All mail servers, in the order in which senders are looked for."""

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        clock: Callable[[], datetime],
        transport: Callable[[Server], Transport] = Pool,
    ) -> None:
        posts: dict[str, Post] = {}
        for route in routes:
            server = route.server
            if server.name not in posts:
                posts[server.name] = Post(server, transport(server), clock=clock)
        self._routes = [(route, posts[route.server.name]) for route in routes]
        self._posts = posts

    def __iter__(self) -> Iterator[Post]:
        return iter(self._posts.values())

    def for_sender(self, address: str) -> Post:
        domain = domain_of(address)
        return next(post for route, post in self._routes if route.fits(domain))

    async def close(self) -> None:
        """Messages under way go on to their end."""
        await asyncio.gather(*(post.transport.close() for post in self))


def domain_of(address: str) -> str:
    return address.rpartition("@")[2].lower()
