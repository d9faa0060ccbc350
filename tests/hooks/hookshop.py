"""An account that tells other systems, and the worker's loop that does it, at the time that the test has set."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import sqlalchemy as sa

from cartwheel.data import catalogchanges, hookstore, schema
from cartwheel.data.hookstore import Health
from cartwheel.hooks.delivering import Deliverer
from cartwheel.hooks.outbound import OUTBOUND, Endpoint
from harness import Api

T = TypeVar("T")

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVERYTHING = dict.fromkeys(OUTBOUND)


def endpoint(api: Api, url: str, events: Mapping[str, int | None] = EVERYTHING, **values: Any) -> int:
    """Make one; returns its number."""
    made = {"name": url, "enabled": True, "secret": SECRET, "score": 10, **values}
    with catalogchanges.changing(api.server.database, api.account_id) as connection:
        return hookstore.add(
            connection, api.account_id, Endpoint(0, url=url, events=events, **made), api.server.clock()
        )


def health(api: Api, number: int) -> Health:
    with api.server.database.read() as connection:
        return hookstore.health(connection, api.account_id)[number]


def deliveries(api: Api, **where: Any) -> list[dict[str, Any]]:
    return sorted(api.rows(schema.hook_deliveries, **where), key=lambda row: (row["id"], row["endpoint"]))


def silence_others(api: Api) -> None:
    """The accounts of other tests in the same database are not this one's business."""
    table = schema.hook_endpoints
    with api.server.database.write() as connection:
        connection.execute(sa.update(table).where(table.c.account_id != api.account_id).values(enabled=False))


class Teller:
    """The real loop, in a thread; its rounds are called by the test."""

    def __init__(self, api: Api, *, allow_private: bool = True, clock: Callable[[], datetime] | None = None) -> None:
        silence_others(api)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="teller", daemon=True)
        self._thread.start()
        self.deliverer = Deliverer(api.server.database, allow_private=allow_private, clock=clock or api.server.clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.run(self.deliverer.finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(60)

    def settle(self) -> None:
        """Try everything that is due now."""
        self.run(self._settle())

    def begin(self) -> None:
        """Call those that are due now, and wait for none of them."""
        self.run(self.deliverer._take())

    async def _settle(self) -> None:
        while await self.deliverer._take() and self.deliverer._calls:
            await asyncio.wait(self.deliverer._calls)
            await self.deliverer._settling.finish()
            await self.deliverer._giving_back.finish()
