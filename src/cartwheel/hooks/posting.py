"""One call of another system: what is sent, and what came back."""

import asyncio
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import aiohttp
from standardwebhooks import Webhook
from yarl import URL

from cartwheel.data.hookstore import Claim, Target
from cartwheel.hooks.targets import Forbidden

TIMEOUT_S = 10.0
"""For all of it: the name, the connection, the answer's end."""

MOST_KEPT = 4096
"""Bytes of an answer that the log holds."""

MOST_READ = 16384
"""Bytes of an answer that are waited for; whoever sends more is hung up on."""

_OK = range(200, 300)

HEADERS = {"Content-Type": "application/json", "User-Agent": "Cartwheel", "Accept-Encoding": "identity"}


class Answer(NamedTuple):
    """`status` is None if there was none; then `trouble` says why."""

    status: int | None
    text: str
    trouble: str
    micros: int

    @property
    def taken(self) -> bool:
        return self.status in _OK


def message_id(claim: Claim) -> str:
    """The same for every try of a delivery, so that its receiver can tell that it has had it."""
    return "msg_" + "_".join(map(str, claim.key))


def signed(secret: str, claim: Claim, now: datetime) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    number = message_id(claim)
    signature = Webhook(secret).sign(number, now, claim.body)
    return {"webhook-id": number, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


async def post(session: aiohttp.ClientSession, target: Target, claim: Claim, clock: Callable[[], datetime]) -> Answer:
    """Call the target. Nothing that it does raises."""
    begun = time.perf_counter()
    status: int | None = None
    text = trouble = ""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            headers = {**HEADERS, **signed(target.secret, claim, clock())}
            url = URL(target.url, encoded=True)  # as it was given
            async with session.post(url, headers=headers, data=claim.body.encode(), allow_redirects=False) as response:
                text = await _beginning(response)
                status = response.status
    except TimeoutError:
        trouble = f"it did not answer within {TIMEOUT_S:.0f} s"
    except Forbidden as refused:
        trouble = str(refused)
    except (ValueError, aiohttp.NonHttpUrlClientError) as error:  # of a URL or a secret that nobody checked
        trouble = f"it cannot be called: {error}"
    except aiohttp.ClientConnectorError as error:
        trouble = f"it cannot be connected to: {error.os_error}".rstrip(": ")
    except aiohttp.ClientResponseError as error:
        trouble = f"it did not answer in HTTP: {error.message}".rstrip(": ")
    except (aiohttp.ClientError, OSError) as error:
        trouble = f"the connection broke: {error}".rstrip(": ")
    return Answer(status, text, trouble, int((time.perf_counter() - begun) * 1e6))


async def _beginning(response: aiohttp.ClientResponse) -> str:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_READ:
            response.close()
            break
    return _storable(b"".join(chunks)[:MOST_KEPT].decode(errors="replace"))


def _storable(text: str) -> str:
    """Without what PostgreSQL does not store."""
    return re.sub("\0", "\ufffd", text)
