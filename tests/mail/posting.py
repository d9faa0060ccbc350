"""Sending to a sink."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cartwheel.mail.outgoing import Outgoing
from cartwheel.mail.replies import Outcome
from cartwheel.mail.smtpurl import parse
from cartwheel.sending.smtp import Pool

LETTER = Outgoing("bounces@acme.example", "ada@shop.example", b"Subject: hello\r\n\r\nHello Ada\r\n")


@asynccontextmanager
async def pool_to(url: str) -> AsyncIterator[Pool]:
    pool = Pool(parse(url))
    yield pool
    await pool.close()


class Dots:
    """Counts final dots."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


async def send_one(url: str, letter: Outgoing = LETTER) -> tuple[Outcome, int]:
    """What became of it, and how many final dots were sent."""
    dots = Dots()
    async with pool_to(url) as pool:
        return await pool.send(letter, dots), dots.count
