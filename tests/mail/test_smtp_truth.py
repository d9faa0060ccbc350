"""Whatever servers do, and however much goes wrong at once: what is said of each message is true."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from posting import Dots, pool_to
from sink import (
    AS_USUAL,
    DEAF,
    DROP,
    EXTENSIONS,
    RESET,
    STALL,
    TAKE_AND_BABBLE,
    TAKE_AND_DROP,
    TAKE_AND_STALL,
    Act,
    Sink,
)

from cartwheel.mail.outgoing import Outgoing
from cartwheel.mail.replies import Fate, Outcome

REPLIES: list[Act] = [
    "200 fine",
    "354 go on",
    "421 4.3.2 shutting down",
    "450 4.2.0 later",
    "452 4.3.1 disk full",
    "452 4.5.3 too many recipients",
    "500 what?",
    "535 5.7.8 who are you?",
    "550 5.1.1 unknown user",
    "550 5.4.5 Daily user sending limit exceeded",
    "what?",
]
REFUSALS = [reply for reply in REPLIES if str(reply)[0] in "45"]
DEEDS: list[Act] = [DROP, RESET, STALL, DEAF]
ENDS: list[Act] = [TAKE_AND_DROP, TAKE_AND_STALL, TAKE_AND_BABBLE]


def acts(*possible: Sequence[Act]) -> st.SearchStrategy[list[Act]]:
    """Mostly as usual, so that later phases are reached."""
    return st.lists(st.just(AS_USUAL) | st.sampled_from([act for some in possible for act in some]), max_size=8)


SCRIPTS = st.fixed_dictionaries(
    {
        "connect": acts(REFUSALS, DEEDS),
        "ehlo": acts(REFUSALS, DEEDS),
        "rset": acts(REPLIES, DEEDS),
        "mail": acts(REPLIES, DEEDS),
        "rcpt": acts(REPLIES, DEEDS),
        "data": acts(REPLIES, DEEDS),
        "body": acts(REFUSALS, DEEDS),
        "dot": acts(REPLIES, DEEDS, ENDS),
    }
)


Sent = tuple[list[Outcome], list[int], Sink]
"""What became of the messages, how many final dots each had, and who took them."""


async def send_all(
    script: Mapping[str, Sequence[Act]], count: int, connections: int, extensions: Sequence[str]
) -> Sent:
    letters = [Outgoing("b@acme.example", f"lead{n}@shop.example", b"%d\r\n" % n) for n in range(count)]
    dots = [Dots() for _ in letters]
    async with Sink(script, extensions=extensions) as sink:
        url = sink.url(connections=connections, command_timeout=0.05, dot_timeout=0.05, connect_timeout=1)
        async with pool_to(url) as pool:
            outcomes = await asyncio.gather(*map(pool.send, letters, dots))
    return outcomes, [dot.count for dot in dots], sink


POSSIBLE = {
    Fate.ACCEPTED: {1},
    Fate.IN_DOUBT: {0, 1},
    Fate.LATER: {0},
    Fate.NEVER: {0},
    Fate.SERVER_TROUBLE: {0},
}
"""How often a message can have been taken."""


def check(outcomes: list[Outcome], dots: list[int], sink: Sink) -> None:
    taken = Counter(int(message.data) for message in sink.messages)
    for number, outcome in enumerate(outcomes):
        assert taken[number] in POSSIBLE[outcome.fate], outcome
        assert dots[number] in ({1} if outcome.fate in {Fate.ACCEPTED, Fate.IN_DOUBT} else {0, 1})
        assert dots[number] >= taken[number]
    assert {message.rcpt for message in sink.messages} == {f"TO:<lead{number}@shop.example>" for number in taken}
    assert sink.violations == []


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "extensions", [EXTENSIONS, ("SIZE 1000", "ENHANCEDSTATUSCODES")], ids=["pipelining", "step by step"]
)
def test_what_is_said_of_a_message_agrees_with_what_the_server_took(
    run: Callable[..., Sent], extensions: Sequence[str]
) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(script=SCRIPTS, count=st.integers(1, 8), connections=st.integers(1, 3))
    def holds(script: Mapping[str, Sequence[Act]], count: int, connections: int) -> None:
        check(*run(send_all(script, count, connections, extensions)))

    holds()
