"""What becomes of the mail of the demo's past: a mail server that only speaks, and people who open, follow links, buy, leave.

They know a mail as it was made, byte for byte, and do with it what mail programs do.
"""

import re
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from email import message_from_bytes
from html import unescape
from random import Random
from typing import Any, NamedTuple, Protocol

from cartwheel.demopeople import Person
from cartwheel.mail.outgoing import Outgoing
from cartwheel.mail.replies import Fate, Outcome, Phase

BROWSERS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:139.0) Gecko/20100101 Firefox/139.0",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
)
SCANNER = "Mozilla/5.0 (compatible; Mimecast scanner)"

ONE_CLICK = b"List-Unsubscribe=One-Click"
FORM = "application/x-www-form-urlencoded"

Act = Callable[[], Coroutine[Any, Any, None]]


class World(Protocol):
    """What readers find around them."""

    @property
    def known(self) -> Mapping[str, Person]: ...

    def clock(self) -> datetime: ...

    def later(self, hours: float, act: Act) -> None: ...

    def buying(self, person: Person) -> Act: ...

    async def ask(self, method: str, address: str, body: bytes, kind: str, agent: str) -> None: ...


class Links(NamedTuple):
    """What stands in a mail for programs and for people; empty where it does not."""

    pixel: str
    clicks: list[str]
    leave: str


def links_of(data: bytes) -> Links:
    mail = message_from_bytes(data)
    html = next((part for part in mail.walk() if part.get_content_type() == "text/html"), None)
    body = html.get_payload(decode=True) if html else b""
    text = unescape(body.decode()) if isinstance(body, bytes) else ""
    pixel = re.search(r'http[^"]+/o/[^"]+', text)
    leave = re.search(r"<(http[^>]+)>", str(mail["List-Unsubscribe"] or ""))
    return Links(pixel[0] if pixel else "", re.findall(r'href="(http[^"]+/c/[^"]+)"', text), leave[1] if leave else "")


class Readers:
    """The mail server of all of them: what it takes, they get."""

    def __init__(self, world: World, chance: Random) -> None:
        self._world = world
        self._chance = chance
        self._deaf: dict[str, bool] = {}
        """Whether there is nobody at an address."""
        self._made_to_wait: set[str] = set()
        self._loses_next = False
        self._taken = 0

    async def lose_one(self) -> None:
        """The connection breaks in the worst moment of the next mail."""
        self._loses_next = True

    async def send(self, message: Outgoing, on_final_dot: Callable[[], None] | None = None) -> Outcome:
        chance = self._chance
        if self._deaf.setdefault(message.to, chance.random() < 0.03):  # noqa: PLR2004 - made up
            text = "550 5.1.1 The email account that you tried to reach does not exist"
            return Outcome(Fate.NEVER, Phase.RCPT, text, 550, "5.1.1", hard=True)
        if message.to not in self._made_to_wait and chance.random() < 0.02:  # noqa: PLR2004 - made up
            self._made_to_wait.add(message.to)
            return Outcome(Fate.LATER, Phase.RCPT, "451 4.7.1 Greylisting in action, please come back later", 451)
        if on_final_dot is not None:
            on_final_dot()
        if self._loses_next:
            self._loses_next = False
            return Outcome(Fate.IN_DOUBT, Phase.DOT, "the connection broke off before the server had answered")
        self._taken += 1
        person = self._world.known.get(message.to)
        if person is not None:
            self._get(person, message.data)
        return Outcome(Fate.ACCEPTED, Phase.DOT, f"250 2.0.0 Ok: queued as {0x4C1D00 + self._taken * 37:X}", 250)

    async def close(self) -> None:
        """Nothing to close."""

    def _get(self, person: Person, data: bytes) -> None:
        """A mail has come: they decide what to do with it, and when."""
        chance = self._chance
        if chance.random() < 0.04:  # noqa: PLR2004 - made up
            links = links_of(data)
            self._world.later(0.01, self._asking("GET", links.pixel, SCANNER))
        if chance.random() > 0.2 + 0.6 * person.keen:
            return
        links = links_of(data)
        agent = chance.choice(BROWSERS)
        hours = 0.1 + chance.expovariate(1 / 9)
        self._world.later(hours, self._asking("GET", links.pixel, agent))
        if links.clicks and chance.random() < 0.1 + 0.5 * person.keen:
            self._world.later(hours + 0.05, self._asking("GET", chance.choice(links.clicks), agent))
            if chance.random() < 0.1 + 0.4 * person.keen:
                self._world.later(hours + chance.uniform(0.2, 40), self._world.buying(person))
        elif chance.random() < 0.06 * (1.2 - person.keen):
            self._world.later(hours + 0.1, self._asking("POST", links.leave, agent))

    def _asking(self, method: str, address: str, agent: str) -> Act:
        async def act() -> None:
            if address:
                await self._world.ask(method, address, ONE_CLICK if method == "POST" else b"", FORM, agent)

        return act
