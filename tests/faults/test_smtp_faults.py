"""Mail servers that refuse, stall, drop and change their minds: afterwards the ledger and what they took agree."""

from collections.abc import Iterator, Sequence

import pytest
from mailing import Shop, do_all, office
from office import Office
from realserver import free_port
from sink import DEAF, DROP, RESET, STALL, TAKE_AND_BABBLE, TAKE_AND_DROP, TAKE_AND_STALL, Act, Sink

from conftest import Databases
from harness import Server

MAILS = 24

LATER: list[Act] = ["452 4.3.1 no room", "421 4.3.2 shutting down", DROP, RESET]
NEVER: list[Act] = ["550 5.7.1 not from you"]
ALL = [*LATER, *NEVER] * 2


@pytest.fixture(scope="module")
def running(engine: str, databases: Databases) -> Iterator[Server]:
    """One of its own: offices do everything that is due in a database. Each test leaves nothing to do."""
    running = Server(databases.migrated(engine))
    yield running
    running.stop()


@pytest.fixture
def shop(running: Server) -> Shop:
    shop = Shop(running)
    shop.subscribe(MAILS)
    return shop


def recover(shop: Shop, office: Office, sink: Sink) -> None:
    """From round to round the books are right, until the server has been as usual for so long that all is done."""
    for _ in range(40):
        do_all(office)
        shop.check_once(sink)
        if shop.states.keys().isdisjoint({"queued", "handed over"}):
            return
        office.server.clock.forward(minutes=20)
    pytest.fail(f"after hours there is still {shop.states}")


@pytest.mark.parametrize(
    ("phase", "acts", "ends"),
    [
        ("connect", ALL, {}),
        ("ehlo", ALL, {}),
        ("mail", ALL, {"failed": 2}),
        ("rcpt", ALL, {"failed": 2}),
        ("data", ALL, {"failed": 2}),
        ("dot", LATER[:2] * 2, {}),
        ("dot", NEVER * 5, {"failed": 5}),
        ("dot", [DROP, RESET] * 2, {"in doubt": 4}),
        ("dot", [TAKE_AND_DROP, TAKE_AND_BABBLE] * 2, {"in doubt": 4}),
    ],
)
def test_what_a_server_does_at_each_phase(shop: Shop, phase: str, acts: Sequence[Act], ends: dict[str, int]) -> None:
    with Sink({phase: acts}) as sink, office(shop.server, sink) as sender:
        recover(shop, sender, sink)
        assert sink.script[phase] == []
        assert shop.states == {"accepted": MAILS - sum(ends.values()), **ends}
        lost_in_doubt = ends.get("in doubt", 0) if DROP in acts else 0
        assert len(sink.messages) == MAILS - ends.get("failed", 0) - lost_in_doubt


def test_a_connection_that_is_lost_within_a_message(shop: Shop) -> None:
    """A short message may have left with its final dot by then: who cannot know is in doubt."""
    with Sink(body=[DROP, RESET] * 2) as sink, office(shop.server, sink) as sender:
        recover(shop, sender, sink)
        in_doubt = shop.states.get("in doubt", 0)
        assert in_doubt <= 4
        assert len(sink.messages) == shop.states["accepted"] == MAILS - in_doubt


def test_a_server_that_stalls_at_every_phase(shop: Shop) -> None:
    """Whom it has not answered before the final dot gets the mail later; the others are in doubt."""
    early = ("connect", "ehlo", "mail", "rcpt", "data")
    script = {**{phase: [STALL] * 2 for phase in early}, "body": [DEAF], "dot": [STALL, TAKE_AND_STALL]}
    patience = {"connect_timeout": 1, "command_timeout": 1, "dot_timeout": 1}
    with Sink(script) as sink, office(shop.server, sink, **patience) as sender:
        recover(shop, sender, sink)
        assert {phase: acts for phase, acts in sink.script.items() if acts} == {}
        in_doubt = shop.states["in doubt"]
        assert shop.states == {"accepted": MAILS - in_doubt, "in doubt": in_doubt}
        assert in_doubt >= 2


def test_a_server_that_is_not_there(shop: Shop) -> None:
    sink = Sink(port=free_port())
    with office(shop.server, sink) as sender:
        do_all(sender)
        assert shop.states == {"queued": MAILS}
        shop.check_once()
        shop.server.clock.forward(days=3)
        do_all(sender)
        assert shop.states == {"queued": MAILS}
        with sink:
            recover(shop, sender, sink)
            assert shop.states == {"accepted": MAILS}


def test_a_refusal_for_the_time_being_that_never_ends_is_final_after_days(shop: Shop) -> None:
    with Sink(rcpt=["452 4.2.2 mailbox full"] * 1000) as sink, office(shop.server, sink) as sender:
        for _ in range(20):
            do_all(sender)
            shop.server.clock.forward(hours=6)
        assert shop.states == {"failed": MAILS}
        assert "given up after 4 days" in shop.ledger[0].reply
        shop.check_once(sink)
        assert sink.messages == []
