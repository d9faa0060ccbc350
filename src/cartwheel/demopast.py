"""Six weeks of the demo's shop, lived through in seconds before it opens.

Nothing is written beside the mechanisms: calls go through the application, leads along their sequences and mail through
the worker, all by a clock that is set. Only two things are made up. People: when they come, and what they do with a mail,
for which they follow the very links that stand in it. And the mail server: it says what servers say, and nothing leaves.
"""

import asyncio
import heapq
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any
from urllib.parse import urlsplit

from cartwheel.app import Application
from cartwheel.config import Settings
from cartwheel.data.db import Database
from cartwheel.demopeople import Person, people
from cartwheel.demoreaders import Readers
from cartwheel.errors import CannotServe
from cartwheel.worker import Worker

DAYS = 42
SERVER = "smtp://mail.shop.example"

HOURS = (8, 11, 15, 20)
LATELY = (6, 9, 12, 14, 16, 19, 22)
LATELY_DAYS = 8
"""When it is looked what is due, and when on the last days: more often would be truer, and slower."""

Act = Callable[[], Coroutine[Any, Any, None]]


class Past:
    """One, for one account. `credentials` of the account; each App has an app_id of its own."""

    def __init__(self, settings: Settings, database: Database, url: str, credentials: Mapping[str, str]) -> None:
        self._url = url
        self._credentials = credentials
        self._now = datetime.min.replace(tzinfo=UTC)
        self._broken_off = False
        self._clicked = False
        self._chance = Random(11)  # noqa: S311 - nobody shall guess anything
        self._people = people(self._chance)
        self._agenda: list[tuple[datetime, int, Act]] = []
        self._numbers = count()
        self.known: dict[str, Person] = {}
        """Who has signed up, by address."""
        self._readers = Readers(self, self._chance)
        self._application = Application(settings, clock=self.clock)
        self._worker = Worker(
            settings, database, base_url=url, clock=self.clock, transport=lambda _server: self._readers
        )

    def clock(self) -> datetime:
        return self._now

    def break_off(self) -> None:
        """Whoever waits for it does so no longer."""
        self._broken_off = True

    async def live(self, until: datetime) -> None:
        """Up to this moment."""
        self._now = until - timedelta(days=DAYS)
        self._plan(until)
        async with _running(self._application):
            await self._worker.batches.start()
            for moment in self._moments(until):
                if self._broken_off:
                    break
                self._now = max(self._now, moment)
                await self._do_what_is_due()
            await self._worker.batches.stop()

    def _moments(self, until: datetime) -> Sequence[datetime]:
        first = self._now.replace(hour=0, minute=0)
        moments = [
            first + timedelta(days=day, hours=hour, minutes=self._chance.randrange(60))
            for day in range(DAYS + 1)
            for hour in (HOURS if day < DAYS - LATELY_DAYS else LATELY)
        ]
        return [*(moment for moment in moments if self._now < moment < until), until]

    async def _do_what_is_due(self) -> None:
        acts = []
        while self._agenda and self._agenda[0][0] <= self._now:
            acts.append(heapq.heappop(self._agenda)[2])
        await asyncio.gather(*(act() for act in acts))
        if acts:
            await self._application.public.tracker.finish()
            await self._application.counts.round()
        if self._clicked:
            self._clicked = False
            self._now += timedelta(seconds=3)  # so long it takes to see that it was a person
            await self._application.housekeeping.round()
        while await self._worker.engine.round():
            pass
        while await self._worker.sender.round():
            pass
        await self._worker.sender.finish()

    def at(self, moment: datetime, act: Act) -> None:
        heapq.heappush(self._agenda, (moment, next(self._numbers), act))

    def later(self, hours: float, act: Act) -> None:
        self.at(self._now + timedelta(hours=hours), act)

    # -- what comes from outside --

    async def call(self, app: str, email: str, *actions: Mapping[str, Any], **lead: Any) -> None:
        """As a program on the shop's website does."""
        body: dict[str, Any] = {
            **self._credentials,
            "app_id": app,
            "lead": {"email": email, **lead},
            "actions": list(actions),
        }
        await self.ask("POST", "/api", json.dumps(body).encode(), "application/json", "Fern & Fable/2.1")

    async def ask(self, method: str, address: str, body: bytes, kind: str, agent: str) -> None:
        """A request, as a server would hand it to the application."""
        there, here = urlsplit(address), urlsplit(self._url)
        self._clicked |= there.path.startswith("/c/")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "https",
            "method": method,
            "path": there.path,
            "raw_path": there.path.encode(),
            "query_string": there.query.encode(),
            "headers": [
                (b"host", here.netloc.encode()),
                (b"content-type", kind.encode()),
                (b"content-length", b"%d" % len(body)),
                (b"user-agent", agent.encode()),
            ],
            "client": ("203.0.113.7", 40000),
            "server": (here.hostname, here.port),
        }
        parts = iter([{"type": "http.request", "body": body}])

        async def receive() -> dict[str, Any]:
            return next(parts, {"type": "http.disconnect"})

        async def send(_message: Mapping[str, Any]) -> None:
            """Nobody waits for the answer."""

        await self._application(scope, receive, send)

    # -- who comes, and when --

    def _plan(self, until: datetime) -> None:
        chance = self._chance
        for day in range(DAYS):
            midnight = (self._now + timedelta(days=day)).replace(hour=0, minute=0)
            weekend = midnight.weekday() > 4  # noqa: PLR2004 - Friday
            for _ in range(round(chance.gauss(4 + day / 9 + (3 if weekend else 0), 2))):
                moment = midnight + timedelta(hours=chance.triangular(6, 23, 19))
                if moment < until:
                    self.at(moment, self._signing_up(next(self._people)))
            self.at(midnight + timedelta(hours=chance.uniform(9, 18)), self._stumbling(day))
        for number, person in zip(range(6), self._people, strict=False):
            self.at(until - timedelta(hours=5 + 9 * number), self._trying(person))
        self.at(until - timedelta(hours=30), self._readers.lose_one)
        dealer = next(self._people)
        self.at(until - timedelta(days=5), self._signing_up(dealer))
        self.at(until - timedelta(days=2), self.buying(dealer, wholesale=True))

    def _signing_up(self, person: Person) -> Act:
        chance = self._chance
        course, basket = chance.random() < 0.35, chance.random() < 0.25  # noqa: PLR2004 - made up
        lists = ["Newsletter", *(["Course: Seed to Harvest"] if course else [])]
        lists += ["Workshop waiting list"] if chance.random() < 0.12 else []  # noqa: PLR2004 - made up
        space = chance.choices((801, 802, 803, 804), (3, 4, 5, 2))[0]
        interests = chance.sample((701, 702, 703), chance.randint(1, 2))

        async def act() -> None:
            self.known[person.email] = person
            await self.call(
                "demo-app",
                person.email,
                {"cmd": "create_lead"},
                *({"cmd": "subscribe_lead_to_list", "list_name": name} for name in lists),
                started("Seed to Harvest" if course else "First month"),
                *([{"cmd": "assign_tag", "tag_name": "Trial user"}] if person.keen > 0.5 else []),  # noqa: PLR2004
                first_name=person.first,
                last_name=person.last,
                city=person.city,
                country=person.country,
                lead_preferred_time_zone=person.zone,
                custom_fields=[
                    {"field_identifier": "growing_space", "field_value": str(space)},
                    {"field_identifier": "interests", "field_value": [str(number) for number in interests]},
                ],
            )
            if basket:
                self.later(chance.uniform(1, 60), self._leaving_a_basket(person))

        return act

    def _leaving_a_basket(self, person: Person) -> Act:
        async def act() -> None:
            tag = {"cmd": "assign_tag", "tag_name": "Basket left behind"}
            await self.call("demo-checkout", person.email, tag, started("Basket reminder"))

        return act

    def buying(self, person: Person, *, wholesale: bool = False) -> Act:
        chance = self._chance
        points = chance.choice((10, 15, 20, 40, 60))
        also = chance.choices(("", "Gift buyer", "Course member"), (6, 2, 2))[0]

        async def act() -> None:
            tags = ["Customer", *([also] if also else []), *(["Wholesale"] if wholesale else [])]
            await self.call(
                "demo-checkout",
                person.email,
                *({"cmd": "assign_tag", "tag_name": tag} for tag in tags),
                {"cmd": "give_points_to_lead", "points": str(points), "expiration": "60"},
                started("Thank you, and again"),
            )

        return act

    def _stumbling(self, day: int) -> Act:
        """Programs make mistakes, too: more of them on the days after somebody has changed something."""

        async def act() -> None:
            wrong = {"cmd": "assign_tag", "tag_name": "Custommer"}
            for _ in range(6 if day % 17 == 12 else day % 3):  # noqa: PLR2004 - made up
                await self.call("demo-checkout", next(self._people).email, {"cmd": "create_lead"}, wrong)

        return act

    def _trying(self, person: Person) -> Act:
        """Whoever builds the next website does so with an App in test mode."""

        async def act() -> None:
            await self.call(
                "demo-staging", person.email, {"cmd": "create_lead"}, started("First month"), first_name=person.first
            )

        return act


def started(sequence: str) -> Mapping[str, str]:
    return {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": sequence, "step": "1"}


@asynccontextmanager
async def _running(application: Application) -> AsyncIterator[None]:
    """Between its start and its end, of which servers tell it."""
    told: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    heard: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    task = asyncio.create_task(
        application({"type": "lifespan", "asgi": {"version": "3.0"}}, told.get, _put_into(heard))
    )

    async def go(name: str) -> None:
        told.put_nowait({"type": f"lifespan.{name}"})
        answer = await heard.get()
        if answer["type"] != f"lifespan.{name}.complete":
            raise CannotServe(f"the demo could not {name}: {answer.get('message', '')}")

    await go("startup")
    try:
        yield
    finally:
        await go("shutdown")
        await task


def _put_into(queue: "asyncio.Queue[Mapping[str, Any]]") -> Callable[[Mapping[str, Any]], Coroutine[Any, Any, None]]:
    async def put(message: Mapping[str, Any]) -> None:
        queue.put_nowait(message)

    return put
