"""Much work at once, as far as one visit may take."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cartwheel.errors import CartwheelError
from cartwheel.ui.visits import Visit
from cartwheel.work.batches import Work

AT_ONCE = 256
PATIENCE_S = 8.0
"""So long a visit goes on before it says how far it came."""


class Done(NamedTuple):
    """How many pieces succeeded, and whether there are more to do."""

    number: int
    more: bool


def in_portions(visit: Visit, portion: Callable[[int], Sequence[Work[Any]]]) -> Done:
    """Do portions of so much work until one is empty, or it takes too long. A piece that is refused is left out."""
    number, end = 0, time.monotonic() + PATIENCE_S
    while works := portion(AT_ONCE):
        for result in _submit(visit, works):
            if isinstance(result, BaseException) and not isinstance(result, CartwheelError):
                raise result
            number += not isinstance(result, BaseException) and result is not False
        if time.monotonic() > end:
            return Done(number, more=True)
    return Done(number, more=False)


def _submit(visit: Visit, works: Sequence[Work[Any]]) -> list[Any]:
    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*map(visit.house.batches.submit, works), return_exceptions=True)

    return asyncio.run_coroutine_threadsafe(all_of_them(), visit.house.loop).result(60)
