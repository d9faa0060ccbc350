"""Which server a message leaves by, and when a server is left in peace."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from posting import LETTER
from sink import AS_USUAL, DROP, STALL, Sink

from cartwheel.mail.outgoing import Outgoing
from cartwheel.mail.replies import Fate, Outcome, Phase
from cartwheel.mail.smtpurl import parse_routes
from cartwheel.sending.servers import TRIAL_WAIT_S, Breaker, Servers

pytestmark = pytest.mark.anyio

START = datetime(2026, 3, 1, 14, 15, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def servers_of(text: str, clock: Clock) -> Servers:
    return Servers(parse_routes(text), clock=clock)


# -- which --


async def test_the_senders_domain_decides_which_server_is_taken() -> None:
    servers = servers_of(
        "smtp://a.example shop.example=smtp://b.example *.shop.example=smtp://c.example other.example=smtp://b.example",
        Clock(),
    )
    senders = ["x@acme.example", "x@Shop.example", "x@mail.shop.example", "x@myshop.example", "", "x@other.example"]
    assert [servers.for_sender(sender).server.host[0] for sender in senders] == ["a", "b", "c", "a", "a", "b"]
    assert servers.for_sender("x@shop.example") is servers.for_sender("x@other.example")
    assert [post.name[0] for post in servers] == ["b", "c", "a"]
    await servers.close()


async def test_messages_really_leave_by_their_server() -> None:
    async with Sink() as one, Sink() as two:
        servers = servers_of(f"{one.url()} shop.example={two.url()}", Clock())
        for sender in ("a@acme.example", "b@shop.example"):
            outcome = await servers.for_sender(sender).send(Outgoing(sender, LETTER.to, LETTER.data))
            assert outcome.fate is Fate.ACCEPTED
        await servers.close()
        assert "a@acme.example" in one.messages[0].mail
        assert "b@shop.example" in two.messages[0].mail


# -- whether --

TROUBLE = Outcome(Fate.SERVER_TROUBLE, Phase.CONNECT, "cannot be reached")
QUOTA = Outcome(Fate.SERVER_TROUBLE, Phase.RCPT, "5.4.5 daily limit exceeded", 550, "5.4.5", quota=True)
LOST = Outcome(Fate.LATER, Phase.RCPT, "the connection was lost")
DOUBT = Outcome(Fate.IN_DOUBT, Phase.DOT, "the connection was lost")
BUSY = Outcome(Fate.LATER, Phase.MAIL, "4.3.2 shutting down", 421, "4.3.2")
GREYLISTED = Outcome(Fate.LATER, Phase.RCPT, "greylisted", 450)
SUSPECT = Outcome(Fate.LATER, Phase.RCPT, "relay access denied", 554, suspect=True)
REFUSED = Outcome(Fate.NEVER, Phase.RCPT, "unknown user", 550, hard=True)
ACCEPTED = Outcome(Fate.ACCEPTED, Phase.DOT, "ok", 250)
UNSENDABLE = Outcome(Fate.NEVER, Phase.CHECK, "the address has characters that cannot be sent")


class Bench:
    """A breaker, and messages that meet what a test wants."""

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.clock = Clock()

    def meet(self, *outcomes: Outcome, to: str = LETTER.to) -> None:
        for outcome in outcomes:
            ticket = self.breaker.enter(self.clock())
            assert ticket is not None
            self.breaker.report(outcome, ticket, self.clock(), to=to)

    def wait(self) -> float:
        return self.breaker.wait_s(self.clock())


@pytest.mark.parametrize(
    ("met", "parked"),
    [
        ([TROUBLE], True),
        ([QUOTA], True),
        ([LOST, LOST], False),
        ([LOST, DOUBT, BUSY], True),
        ([LOST, LOST, GREYLISTED, LOST, LOST], False),
        ([LOST, LOST, REFUSED, LOST, LOST], False),
        ([LOST, LOST, UNSENDABLE, LOST], True),
        ([ACCEPTED, GREYLISTED, REFUSED, UNSENDABLE], False),
    ],
)
def test_a_server_is_parked_when_it_is_in_trouble_and_not_for_what_it_says(met: list[Outcome], parked: bool) -> None:  # noqa: FBT001
    bench = Bench()
    bench.meet(*met)
    assert (bench.wait() > 0) is parked
    assert (bench.breaker.enter(START) is None) is parked


@pytest.mark.parametrize(
    ("met", "parked"),
    [
        ([("a", SUSPECT)] * 9, False),
        ([("a", SUSPECT), ("b", SUSPECT), ("c", SUSPECT)], True),
        ([("a", SUSPECT), ("b", SUSPECT), ("d", ACCEPTED), ("c", SUSPECT)], False),
        ([("a", SUSPECT), ("b", SUSPECT), ("d", GREYLISTED), ("c", SUSPECT)], True),
        ([("a", SUSPECT), ("b", LOST), ("c", LOST), ("a", SUSPECT), ("c", LOST)], False),
    ],
)
def test_a_server_is_parked_for_what_it_says_of_several_recipients(
    met: list[tuple[str, Outcome]],
    parked: bool,  # noqa: FBT001
) -> None:
    bench = Bench()
    for to, outcome in met:
        bench.meet(outcome, to=to)
    assert (bench.wait() > 0) is parked


def test_only_an_accepted_message_clears_a_server_of_what_it_says_of_everybody() -> None:
    bench, pauses = Bench(), []
    for to in "abc":
        bench.meet(SUSPECT, to=to)
    for _ in range(3):
        pauses.append(bench.wait())
        bench.clock.forward(bench.wait())
        bench.meet(SUSPECT, to="a")
    assert pauses == [5, 10, 20]
    bench.clock.forward(bench.wait())
    bench.meet(ACCEPTED, SUSPECT)
    assert bench.wait() == 0


def test_one_who_is_refused_on_trial_keeps_nobody_from_a_server_that_is_back() -> None:
    bench = Bench()
    bench.meet(TROUBLE)
    bench.clock.forward(5)
    bench.meet(SUSPECT)
    assert bench.wait() == 0


def test_pauses_grow_and_a_success_ends_them() -> None:
    bench, pauses = Bench(), []
    for _ in range(10):
        bench.meet(TROUBLE)
        pauses.append(bench.wait())
        bench.clock.forward(bench.wait())
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    bench.meet(ACCEPTED, TROUBLE)
    assert bench.wait() == 5


def test_a_server_that_has_had_enough_for_today_is_left_in_peace_at_once() -> None:
    bench = Bench()
    bench.meet(QUOTA)
    assert bench.wait() == 900


def test_one_message_tries_whether_the_server_is_back() -> None:
    bench = Bench()
    bench.meet(TROUBLE)
    bench.clock.forward(4.9)
    assert bench.breaker.enter(bench.clock()) is None
    bench.clock.forward(0.1)
    trial = bench.breaker.enter(bench.clock())
    assert trial is not None
    assert bench.breaker.enter(bench.clock()) is None
    assert bench.wait() == TRIAL_WAIT_S
    bench.breaker.report(LOST, trial, bench.clock())
    assert bench.wait() == 10


@pytest.mark.parametrize("how", ["called off", "not sendable"])
def test_a_trial_that_told_nothing_is_made_again(how: str) -> None:
    bench = Bench()
    bench.meet(TROUBLE)
    bench.clock.forward(5)
    trial = bench.breaker.enter(bench.clock())
    assert trial is not None
    if how == "called off":
        bench.breaker.give_back(trial)
    else:
        bench.breaker.report(UNSENDABLE, trial, bench.clock())
    assert bench.wait() == 0
    bench.meet(ACCEPTED)
    assert bench.breaker.parked_until is None


def test_messages_that_set_out_before_the_trouble_neither_end_nor_worsen_it() -> None:
    bench = Bench()
    early = [bench.breaker.enter(START) or 0 for _ in range(3)]
    assert all(early)
    bench.meet(TROUBLE)
    bench.breaker.report(ACCEPTED, early[0], START)
    assert bench.wait() == 5
    bench.clock.forward(1)
    bench.breaker.report(TROUBLE, early[1], bench.clock())
    assert bench.wait() == 4
    bench.clock.forward(4)
    trial = bench.breaker.enter(bench.clock())
    bench.breaker.report(TROUBLE, early[2], bench.clock())
    assert bench.wait() == TRIAL_WAIT_S
    assert trial is not None
    bench.breaker.report(ACCEPTED, trial, bench.clock())
    assert bench.wait() == 0


async def test_a_parked_server_is_not_called_and_says_why() -> None:
    clock = Clock()
    async with Sink(connect=["421 4.3.2 too busy"]) as sink:
        servers = servers_of(sink.url(), clock)
        [post] = servers
        outcomes = [await post.send(LETTER), await post.send(LETTER)]
        assert [outcome.fate for outcome in outcomes] == [Fate.SERVER_TROUBLE] * 2
        assert (sink.connections, outcomes[1].phase) == (1, Phase.CHECK)
        assert "4.3.2 too busy" in outcomes[1].text
        assert (post.breaker.last_error, post.breaker.last_error_at) == ("4.3.2 too busy", START)
        assert post.open_until(clock()) == START + timedelta(seconds=5)
        clock.forward(5)
        assert post.open_until(clock()) is None
        assert (await post.send(LETTER)).fate is Fate.ACCEPTED
        await servers.close()


async def test_losses_in_a_row_park_a_server_that_can_be_reached() -> None:
    async with Sink(rcpt=[DROP, DROP, AS_USUAL, DROP, DROP, DROP]) as sink:
        servers = servers_of(sink.url(connections=1), Clock())
        [post] = servers
        fates = [(await post.send(LETTER)).fate for _ in range(7)]
        assert fates == [Fate.LATER] * 2 + [Fate.ACCEPTED] + [Fate.LATER] * 3 + [Fate.SERVER_TROUBLE]
        await servers.close()


async def test_a_trial_that_is_called_off_leaves_the_server_to_the_next_one() -> None:
    clock = Clock()
    async with Sink(connect=["421 4.3.2 too busy"], dot=[STALL]) as sink:
        servers = servers_of(sink.url(), clock)
        [post] = servers
        await post.send(LETTER)
        clock.forward(5)
        dot = asyncio.Event()
        trial = asyncio.create_task(post.send(LETTER, dot.set))
        await dot.wait()
        assert (await post.send(LETTER)).fate is Fate.SERVER_TROUBLE
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        assert (await post.send(LETTER)).fate is Fate.ACCEPTED
        await servers.close()


async def test_who_waits_for_a_server_that_stalls_comes_back_untouched() -> None:
    async with Sink(rcpt=[STALL] * 3) as sink:
        servers = servers_of(sink.url(connections=3, command_timeout=0.2), Clock())
        [post] = servers
        outcomes = await asyncio.gather(*(post.send(LETTER) for _ in range(30)))
        assert [outcome.phase for outcome in outcomes].count(Phase.CHECK) == 27
        assert sink.messages == []
        await servers.close()


async def test_a_message_whose_turn_comes_too_late_is_not_begun() -> None:
    clock = Clock()
    async with Sink() as sink:
        servers = servers_of(sink.url(), clock)
        [post] = servers
        in_time = clock() + post.server.longest
        outcomes = [await post.send(LETTER, until=until) for until in (in_time, in_time - timedelta(seconds=1))]
        assert [outcome.fate for outcome in outcomes] == [Fate.ACCEPTED, Fate.SERVER_TROUBLE]
        assert len(sink.messages) == 1
        await servers.close()


async def test_the_log_tells_once_when_a_server_is_parked_and_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock = Clock()
    async with Sink() as sink:
        sink.script["connect"] = ["421 4.7.0 too much mail for eve@shop.example"] * 2
        [post] = servers_of(sink.url(), clock)
        for _ in range(4):
            await post.send(LETTER)
            clock.forward(3)
        assert post.breaker.parked_until is not None
        clock.forward(3600)
        outcome = await post.send(LETTER)
        assert outcome.fate is Fate.ACCEPTED
        await post.send(LETTER)
        await post.transport.close()
    told = [(line.levelname, line.getMessage()) for line in caplog.records if line.name == "cartwheel.sending.servers"]
    assert [level for level, _ in told] == ["WARNING", "INFO"]
    assert all(
        post.name in text and "too much mail for (an address)" in text and "@" not in text for _, text in told
    ), told
