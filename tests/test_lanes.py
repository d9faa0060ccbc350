"""What a lane promises in its worst moments."""

import asyncio
import threading

import psycopg
import pytest

from cartwheel.data import schema
from cartwheel.data.db import Database
from cartwheel.data.lanes import Insert, Select, SqliteLane
from cartwheel.data.postgreslane import PostgresLane
from cartwheel.errors import Unavailable
from conftest import Databases

COUNTER = Select(schema.counters, ("name", "next"), by=("name",))


@pytest.fixture
def database(engine: str, databases: Databases) -> Database:
    made = Database(databases.migrated(engine))
    made.migrate()
    return made


@pytest.mark.parametrize("engine", ["sqlite"])
def test_who_is_cancelled_while_it_commits_leaves_no_transaction_behind(database: Database) -> None:
    async def scenario() -> None:
        lane = database.lane()
        assert isinstance(lane, SqliteLane)
        await lane.begin()
        await lane.write(Insert(schema.counters), [("tests", 7)])
        disk_is_slow = threading.Event()
        lane._disk.submit(disk_is_slow.wait)
        committing = asyncio.create_task(lane.commit())
        await asyncio.sleep(0)
        committing.cancel()
        asyncio.get_running_loop().call_later(0.05, disk_is_slow.set)
        with pytest.raises(asyncio.CancelledError):
            await committing
        is_over = not lane._connection.in_transaction
        disk_is_slow.set()
        assert is_over
        await lane.rollback()
        assert await lane.fetch(COUNTER, [("tests",)]) == [("tests", 7)]
        await lane.close()

    asyncio.run(scenario())
    database.close()


@pytest.mark.parametrize("engine", ["postgresql"])
def test_who_was_frozen_in_a_transaction_finds_the_database_unavailable_and_goes_on(database: Database) -> None:
    async def scenario() -> None:
        lane = database.lane()
        assert isinstance(lane, PostgresLane)
        await lane.begin()
        assert lane._connection is not None
        await lane._connection.execute("SET idle_in_transaction_session_timeout = 1")
        async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as other, asyncio.timeout(20):
            here = (lane._connection.info.backend_pid,)
            while await (await other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", here)).fetchone():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        with pytest.raises(Unavailable):
            await lane.fetch(COUNTER, [("leads",)])
        await lane.rollback()
        await lane.begin()
        assert len(await lane.fetch(COUNTER, [("leads",)])) == 1
        await lane.rollback()
        await lane.close()

    asyncio.run(scenario())
    database.close()
