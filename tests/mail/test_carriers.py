"""Mails in hand: no more are carried at a time than a server has connections, and none is forgotten."""

import asyncio
from collections.abc import Sequence

import pytest

from cartwheel.sending.carriers import Carriers, Gathering

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Road:
    """Whoever is on it stays there until told."""

    def __init__(self) -> None:
        self.on_it: list[int] = []
        self.done: list[int] = []
        self.rests = 0
        self.open = asyncio.Event()

    async def carry(self, number: int) -> None:
        self.on_it.append(number)
        await self.open.wait()
        self.on_it.remove(number)
        if number == 1:
            raise RuntimeError("lost its way")
        self.done.append(number)

    def rest(self) -> None:
        self.rests += 1


async def test_so_many_are_carried_at_a_time_and_one_that_fails_holds_up_nobody() -> None:
    road = Road()
    carriers = Carriers(road.carry, 3, road.rest)
    for number in range(10):
        carriers.put(number)
    await asyncio.sleep(0)
    assert (road.on_it, carriers.at_work) == ([0, 1, 2], True)
    road.open.set()
    await carriers.finish()
    assert sorted(road.done) == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert (carriers.at_work, road.rests) == (False, 3)


async def test_when_they_disband_nothing_waits_for_its_turn() -> None:
    road = Road()
    carriers = Carriers(road.carry, 2, road.rest)
    for number in range(10, 15):
        carriers.put(number)
    carriers.disband()
    await asyncio.sleep(0)
    assert road.on_it == [10, 11, 12, 13, 14]
    road.open.set()
    await carriers.finish()


@pytest.mark.parametrize("steps", range(4))
async def test_what_comes_just_when_they_have_ended_waits_for_nobody(steps: int) -> None:
    """However many steps of the loop after the last one was carried: an ended task is not one that will carry it."""
    loop = asyncio.get_running_loop()
    carried: list[int] = []

    def put_after(left: int) -> None:
        if left:
            loop.call_soon(put_after, left - 1)
        else:
            carriers.put(2)

    async def carry(number: int) -> None:
        carried.append(number)
        if number == 1:
            loop.call_soon(put_after, steps)

    carriers = Carriers(carry, 1, lambda: None)
    carriers.put(1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert carried == [1, 2]


class Store:
    """Takes its time."""

    def __init__(self) -> None:
        self.groups: list[Sequence[int]] = []
        self.open = asyncio.Event()
        self.second = asyncio.Event()

    async def store(self, group: Sequence[int]) -> None:
        if self.groups:
            self.second.set()
        self.groups.append(group)
        await self.open.wait()
        if 0 in group:
            raise RuntimeError("the first group is lost")


async def test_enough_are_stored_at_once_and_those_who_come_meanwhile_after_them() -> None:
    store = Store()
    gathering = Gathering(store.store)
    for number in range(gathering.ENOUGH - 1):
        gathering.put(number)
    await asyncio.sleep(0)
    assert store.groups == []
    for number in range(gathering.ENOUGH - 1, 3 * gathering.ENOUGH):
        gathering.put(number)
    await asyncio.sleep(0)
    assert [len(group) for group in store.groups] == [gathering.ENOUGH]
    store.open.set()
    await gathering.finish()
    assert [number for group in store.groups for number in group] == list(range(3 * gathering.ENOUGH))
    assert len(store.groups) == 2


async def test_a_few_are_stored_after_a_moment_or_when_no_more_are_to_come() -> None:
    store = Store()
    store.open.set()
    gathering = Gathering(store.store)
    gathering.put(1)
    gathering.hurry()
    await asyncio.sleep(0)
    assert store.groups == [[1]]
    gathering.put(2)
    async with asyncio.timeout(10):
        await store.second.wait()
    await gathering.finish()
    assert store.groups == [[1], [2]]
