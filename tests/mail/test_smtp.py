"""What the SMTP transport says became of a message is what became of it, whatever the server does."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from posting import LETTER, Dots, pool_to, send_one
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
from cartwheel.mail.replies import Fate
from cartwheel.mail.smtpurl import parse
from cartwheel.sending import conversations
from cartwheel.sending.smtp import Pool

pytestmark = pytest.mark.anyio

BIG = Outgoing("bounces@acme.example", "ada@shop.example", b"Subject: big\r\n\r\n" + (b"x" * 78 + b"\r\n") * 50_000)
STEP_BY_STEP = [offer for offer in EXTENSIONS if offer != "PIPELINING"]
WINDOW = 4096
"""A server with so little room that a big message does not fit into the network."""


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(params=[EXTENSIONS, STEP_BY_STEP], ids=["pipelining", "step by step"])
def extensions(request: pytest.FixtureRequest) -> Sequence[str]:
    """Most promises hold in both ways of talking."""
    return tuple(request.param)


# -- messages that arrive --


@pytest.mark.parametrize(
    "text",
    [
        LETTER.data,
        b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n\r\n.\r\nend\r\n",
        b".starts with a dot\r\n",
        b"\r\n.\r\n",
        b"\r\n",
        b"X: " + bytes(range(14, 256)) + b"\r\n",
        BIG.data,
    ],
    ids=["plain", "dots", "dot first", "only a dot", "empty", "every byte", "big"],
)
async def test_a_message_arrives_to_the_byte(text: bytes, extensions: Sequence[str]) -> None:
    async with Sink(extensions=extensions) as sink:
        outcome, dots = await send_one(sink.url(), Outgoing("bounces@acme.example", "ada@shop.example", text))
        assert (outcome.fate, outcome.code, outcome.enhanced, dots) == (Fate.ACCEPTED, 250, "2.0.0", 1)
        assert outcome.text == "2.0.0 Ok: queued as Q0"
        assert [message.data for message in sink.messages] == [text]
        assert sink.messages[0].rcpt == "TO:<ada@shop.example>"
        assert sink.messages[0].mail.split()[:2] == ["FROM:<bounces@acme.example>", f"SIZE={len(text)}"]
        assert sink.violations == []


async def test_a_message_without_its_last_line_end_gets_one() -> None:
    async with Sink() as sink:
        await send_one(sink.url(), Outgoing("", "ada@shop.example", b"Subject: hello\r\n\r\nHello"))
        assert sink.messages[0].data == b"Subject: hello\r\n\r\nHello\r\n"
        assert sink.messages[0].mail.startswith("FROM:<> ")


async def test_the_envelope_goes_out_at_once_where_that_is_offered(extensions: Sequence[str]) -> None:
    async with Sink(extensions=extensions) as sink:
        await send_one(sink.url())
        assert (sink.pipelined > 0) is ("PIPELINING" in extensions)


class Mailbox:
    """What aiosmtpd, which we did not write, took."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        self.envelopes.append(envelope)
        return "250 2.0.0 Ok"


async def test_a_server_that_is_not_ours_understands() -> None:
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port, enable_SMTPUTF8=True)
    controller.start()
    try:
        async with pool_to(f"smtp://127.0.0.1:{port}?connections=2") as pool:
            letters = [Outgoing("b@acme.example", f"lead{n}@shop.example", b".%d\r\n" % n) for n in range(10)]
            letters += [Outgoing("b@acme.example", "ädä@shop.example", "Subject: ä\r\n\r\n".encode())]
            outcomes = await asyncio.gather(*map(pool.send, letters))
    finally:
        controller.stop()
    assert {outcome.fate for outcome in outcomes} == {Fate.ACCEPTED}
    came = {(envelope.rcpt_tos[0], envelope.original_content) for envelope in mailbox.envelopes}
    assert came == {(letter.to, letter.data) for letter in letters}


# -- what became of it --

LATER, NEVER, TROUBLE, DOUBT = Fate.LATER, Fate.NEVER, Fate.SERVER_TROUBLE, Fate.IN_DOUBT

DOINGS: list[tuple[str, Act, Fate]] = [
    ("connect", "421 4.3.2 too busy", TROUBLE),
    ("connect", "554 5.7.1 not you", TROUBLE),
    ("connect", "hello?", TROUBLE),
    ("connect", "220 word\n" * 5_000 + "220 word", TROUBLE),
    ("connect", DROP, TROUBLE),
    ("connect", STALL, TROUBLE),
    ("ehlo", "550 5.7.1 not you", TROUBLE),
    ("ehlo", DROP, TROUBLE),
    ("ehlo", STALL, TROUBLE),
    ("mail", "450 4.7.1 later", LATER),
    ("mail", "421 4.3.2 shutting down", LATER),
    ("mail", "452 4.3.1 disk full", TROUBLE),
    ("mail", "530 5.7.0 authentication required", TROUBLE),
    ("mail", "550 5.7.1 not from you", NEVER),
    ("mail", DROP, LATER),
    ("mail", STALL, LATER),
    ("rcpt", "450 4.2.0 greylisted", LATER),
    ("rcpt", "421 4.3.2 shutting down", LATER),
    ("rcpt", "452 4.2.2 mailbox full", LATER),
    ("rcpt", "452 4.5.3 too many recipients", LATER),
    ("rcpt", "550 5.4.5 Daily user sending limit exceeded", LATER),
    ("rcpt", "550 5.1.1 unknown user", NEVER),
    ("rcpt", DROP, LATER),
    ("rcpt", RESET, LATER),
    ("rcpt", STALL, LATER),
    ("data", "451 4.3.0 later", LATER),
    ("data", "554 5.7.1 no", NEVER),
    ("data", "250 2.0.0 what?", LATER),
    ("data", DROP, LATER),
    ("data", STALL, LATER),
    ("dot", "451 4.3.0 later", LATER),
    ("dot", "421 4.3.2 shutting down", LATER),
    ("dot", "554 5.7.1 spam", NEVER),
    ("dot", "550 5.4.5 Daily user sending limit exceeded", TROUBLE),
    ("dot", "354 go on", DOUBT),
    ("dot", "what?\r\n250 2.0.0 Ok", DOUBT),
    ("dot", DROP, DOUBT),
    ("dot", RESET, DOUBT),
    ("dot", STALL, DOUBT),
]


@pytest.mark.parametrize(("phase", "act", "fate"), DOINGS, ids=lambda value: str(value)[:30])
async def test_what_was_not_taken_is_told_from_what_may_have_been(
    phase: str, act: Act, fate: Fate, extensions: Sequence[str]
) -> None:
    async with Sink({phase: [act]}, extensions=extensions) as sink:
        impatient = sink.url(dot_timeout=0.2) if phase == "dot" else sink.url(command_timeout=0.2)
        outcome, dots = await send_one(impatient if act is STALL else sink.url())
        assert (outcome.fate, dots) == (fate, phase == "dot")
        assert (sink.messages, sink.violations) == ([], [])
        if isinstance(act, str) and act[0] in "45":
            assert f"{outcome.code} {outcome.text}" == act
        else:
            assert outcome.text
        assert outcome.hard == ("unknown user" in str(act))
        assert (outcome.quota or outcome.suspect) == ("Daily" in str(act))


@pytest.mark.parametrize("act", [TAKE_AND_DROP, TAKE_AND_STALL, TAKE_AND_BABBLE])
async def test_what_was_taken_without_a_word_is_in_doubt(act: Act) -> None:
    async with Sink(dot=[act]) as sink:
        outcome, dots = await send_one(sink.url(dot_timeout=0.1))
        assert (outcome.fate, dots, len(sink.messages)) == (Fate.IN_DOUBT, 1, 1)


@pytest.mark.parametrize(
    ("act", "fate"),
    [
        (DROP, LATER),
        (RESET, LATER),
        (DEAF, LATER),
        ("552 5.3.4 too big", NEVER),
        ("451 4.3.0 later", LATER),
        ("250 2.0.0 Ok: queued before it was all there", LATER),
    ],
    ids=str,
)
@pytest.mark.parametrize("pieces", ["in pieces", "at once"])
async def test_in_the_middle_of_a_message_nothing_is_in_doubt(
    act: Act, fate: Fate, pieces: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pieces == "at once":  # with the final dot, which then waits in this process behind the rest
        monkeypatch.setattr(conversations, "PIECE_BYTES", len(BIG.data))
    async with Sink(body=[act], window=WINDOW) as sink:
        outcome, dots = await send_one(sink.url(command_timeout=0.2), BIG)
        # The server's hanging up may overtake what it said.
        assert (outcome.fate in {fate, LATER}, sink.messages) == (True, [])
        assert dots == (pieces == "at once")


async def test_a_server_that_reads_slowly_gets_it_all() -> None:
    async with Sink(window=WINDOW) as sink:
        outcome, _ = await send_one(sink.url(), BIG)
        assert (outcome.fate, sink.messages[0].data == BIG.data) == (Fate.ACCEPTED, True)


async def test_a_server_that_is_not_there_is_in_trouble() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with pool_to(f"smtp://127.0.0.1:{port}") as pool:
        outcome = await pool.send(LETTER)
    assert (outcome.fate, outcome.unanswered) == (Fate.SERVER_TROUBLE, True)
    assert "Connect" in outcome.text


async def test_a_server_that_wants_a_refused_message_gets_none() -> None:
    async with Sink(rcpt=["550 5.1.1 unknown user"], data=["354 go on"]) as sink:
        async with pool_to(sink.url(connections=1)) as pool:
            outcomes = [await pool.send(LETTER), await pool.send(LETTER)]
        assert [outcome.fate for outcome in outcomes] == [Fate.NEVER, Fate.ACCEPTED]
        assert (len(sink.messages), sink.connections, sink.violations) == (1, 2, [])


# -- whoever calls --


async def test_who_cannot_note_the_final_dot_sends_none() -> None:
    def fail() -> None:
        raise RuntimeError("the ledger is away")

    async with Sink() as sink, pool_to(sink.url(connections=1)) as pool:
        with pytest.raises(RuntimeError):
            await pool.send(LETTER, fail)
        await sink.deserted()
        assert (await pool.send(LETTER)).fate is Fate.ACCEPTED
        assert (len(sink.messages), sink.connections) == (1, 2)


async def test_a_line_that_is_cut_at_the_last_moment_leaves_no_doubt() -> None:
    async with Sink() as sink, pool_to(sink.url(connections=1)) as pool:
        await pool.send(LETTER)
        outcome = await pool.send(LETTER, pool._idle[0].abandon)
        assert (outcome.fate, len(sink.messages)) == (Fate.LATER, 1)


async def test_a_call_that_is_cancelled_leaves_no_answer_for_the_next_one() -> None:
    async with Sink(dot=[TAKE_AND_STALL]) as sink, pool_to(sink.url(connections=1)) as pool:
        dot = asyncio.Event()
        task = asyncio.create_task(pool.send(LETTER, dot.set))
        await dot.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sink.deserted()
        outcome = await pool.send(LETTER)
        assert (outcome.text, sink.connections) == ("2.0.0 Ok: queued as Q1", 2)


# -- connections --


async def test_a_refused_message_does_not_harm_the_next_one(extensions: Sequence[str]) -> None:
    refusals: dict[str, Sequence[Act]] = {
        "mail": ["450 4.7.1 later"],
        "rcpt": ["550 5.1.1 unknown user", AS_USUAL],
        "data": [AS_USUAL, "451 4.3.0 later"] if "PIPELINING" in extensions else ["451 4.3.0 later"],
        "dot": ["554 5.7.1 spam"],
    }
    async with Sink(refusals, extensions=extensions) as sink:
        async with pool_to(sink.url(connections=1)) as pool:
            outcomes = [await pool.send(LETTER) for _ in range(6)]
        assert [outcome.fate for outcome in outcomes][-1] is Fate.ACCEPTED
        assert [outcome.code for outcome in outcomes].count(250) == len(sink.messages) >= 2
        assert (sink.connections, sink.violations) == (1, [])
        assert "RSET" in sink.commands


async def test_a_server_that_does_not_start_afresh_is_called_anew() -> None:
    async with Sink(rcpt=["550 5.1.1 unknown user"], rset=["502 5.5.1 no"]) as sink:
        async with pool_to(sink.url(connections=1)) as pool:
            outcomes = [await pool.send(LETTER), await pool.send(LETTER)]
        assert [outcome.fate for outcome in outcomes] == [Fate.NEVER, Fate.ACCEPTED]
        assert (sink.connections, sink.violations) == (2, [])


async def test_no_more_connections_are_opened_than_allowed_and_none_without_need() -> None:
    async with Sink() as sink:
        async with pool_to(sink.url(connections=3)) as pool:
            await asyncio.gather(*(pool.send(LETTER) for _ in range(30)))
            assert (sink.connections, len(sink.messages)) == (3, 30)
            await asyncio.gather(*(pool.send(LETTER) for _ in range(3)))
        assert sink.connections == 3
        assert sink.commands.count("QUIT") == 3


@pytest.mark.parametrize(
    ("phase", "said"),
    [("rcpt", "421 4.3.2 shutting down"), ("rcpt", "452 4.5.3 too many recipients"), ("dot", "354 go on")],
)
async def test_a_connection_that_is_spent_is_not_used_again(phase: str, said: str) -> None:
    async with Sink({phase: [said]}) as sink:
        async with pool_to(sink.url(connections=1)) as pool:
            assert (await pool.send(LETTER)).fate in {Fate.LATER, Fate.IN_DOUBT}
            assert (await pool.send(LETTER)).fate is Fate.ACCEPTED
        assert (sink.connections, sink.commands.count("RSET")) == (2, 0)


async def test_a_refusal_counts_even_if_the_line_breaks_after_it() -> None:
    async with Sink(rcpt=["550 5.1.1 unknown user"], data=[DROP]) as sink:
        outcome, dots = await send_one(sink.url())
        assert (outcome.fate, outcome.hard, dots) == (Fate.NEVER, True, 0)


async def test_a_connection_takes_so_many_messages_and_no_more() -> None:
    async with Sink() as sink:
        async with pool_to(sink.url(connections=1, messages=2)) as pool:
            for _ in range(5):
                await pool.send(LETTER)
        assert (sink.connections, sink.commands.count("QUIT")) == (3, 3)


async def test_an_unused_connection_is_closed() -> None:
    async with Sink() as sink, pool_to(sink.url(connections=1, idle=0.05)) as pool:
        await pool.send(LETTER)
        await sink.heard("QUIT")
        await pool.send(LETTER)
        assert sink.connections == 2


@pytest.mark.parametrize("act", [DROP, RESET, STALL, "421 4.4.2 idle for too long"], ids=str)
async def test_a_connection_that_had_fallen_asleep_is_no_trouble(act: Act, extensions: Sequence[str]) -> None:
    async with Sink(mail=[AS_USUAL, act], extensions=extensions) as sink:
        dots = Dots()
        async with pool_to(sink.url(connections=1, command_timeout=0.3 if act is STALL else 60)) as pool:
            outcomes = [await pool.send(LETTER, dots), await pool.send(LETTER, dots)]
        assert [outcome.fate for outcome in outcomes] == [Fate.ACCEPTED, Fate.ACCEPTED]
        assert (len(sink.messages), sink.connections, dots.count) == (2, 2, 2)


async def test_a_closed_connection_is_not_used_again() -> None:
    async with Sink(dot=["250 2.0.0 Ok\r\n421 4.3.2 shutting down"]) as sink:
        async with pool_to(sink.url(connections=1)) as pool:
            outcomes = [await pool.send(LETTER), await pool.send(LETTER)]
        assert [outcome.fate for outcome in outcomes] == [Fate.ACCEPTED, Fate.ACCEPTED]
        assert (len(sink.messages), sink.connections) == (2, 2)


async def test_an_answer_too_many_is_not_taken_for_the_next_ones() -> None:
    async with Sink(dot=["250 2.0.0 Ok\r\n250 2.0.0 Ok", "554 5.7.1 spam"]) as sink:
        async with pool_to(sink.url(connections=1)) as pool:
            outcomes = [await pool.send(LETTER), await pool.send(LETTER)]
        assert [outcome.fate for outcome in outcomes] == [Fate.ACCEPTED, Fate.NEVER]
        assert len(sink.messages) == 1


async def test_what_is_said_to_an_idle_connection_answers_nothing() -> None:
    async with Sink(dot=[AS_USUAL, "554 5.7.1 spam"]) as sink, pool_to(sink.url(connections=1)) as pool:
        await pool.send(LETTER)
        sink.say("250 2.0.0 Ok")
        while pool._idle[0].usable:  # noqa: ASYNC110 - the connection tells nobody
            await asyncio.sleep(0)
        assert (await pool.send(LETTER)).fate is Fate.NEVER
        assert (len(sink.messages), sink.connections) == (1, 2)


async def test_closing_waits_for_messages_under_way() -> None:
    async with Sink() as sink:
        pool = Pool(parse(sink.url(connections=2)))
        sending = [asyncio.create_task(pool.send(LETTER)) for _ in range(5)]
        await asyncio.sleep(0)
        await pool.close()
        assert all(task.done() for task in sending)
        assert [(await task).fate for task in sending] == [Fate.ACCEPTED] * 5
        assert (await pool.send(LETTER)).fate is Fate.ACCEPTED
