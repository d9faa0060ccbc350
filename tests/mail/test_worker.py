"""`cartwheel serve` sends by itself: its worker is a process beside it, and comes and goes with it."""

import asyncio
import os
import signal
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from sink import Sink

from cartwheel.accountfiles import accountfile
from cartwheel.data import installation, mailbox, schema
from cartwheel.data.db import Database
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Gdpr
from cartwheel.times import now
from cartwheel.work.batches import Batches, Desk
from conftest import Databases
from running import Cartwheel
from test_serving import until

ACCOUNT = """
[account]
name = "Shop"
api_key = "the-key-of-the-shop"
api_password = "the-password-of-the-shop"
mail = { sender = "Shop <hello@shop.example>" }
[[apps]]
name = "Website"
app_id = "the-app-of-the-shop"
[[sequences]]
name = "Welcome"
[[sequences.steps]]
box = "1"
type = "email"
subject = "Welcome"
html = "<p>Hello</p>"
"""


@pytest.fixture
def shop(engine: str, databases: Databases) -> str:
    """A database with an account."""
    url = databases.migrated(engine)
    database = Database(url)
    database.migrate()
    accountfile.apply(database, accountfile.read_text(ACCOUNT, Path()), now())
    database.close()
    return url


def subscribe(url: str, email: str) -> None:
    call = {
        "app_id": "the-app-of-the-shop",
        "api_key": "the-key-of-the-shop",
        "api_password": "the-password-of-the-shop",
        "lead[email]": email,
        "actions[0][cmd]": "create_lead",
        "actions[1][cmd]": "subscribe_lead_to_sequence_at_step",
        "actions[1][sequence_name]": "Welcome",
        "actions[1][step]": "1",
    }
    assert '"type":"107"' in httpx.post(f"{url}/api", data=call).text


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_worker_by_itself_has_points_expire(shop: str) -> None:
    """No server is there to do it."""
    database = Database(shop)
    with database.write() as connection:
        account = connection.execute(sa.select(schema.accounts.c.id)).scalar_one()
    batches = Batches(database, clock=lambda: now() - timedelta(days=2), most_waiting=1)

    async def lend() -> None:
        await batches.start()
        await batches.submit(LentPoints(account))
        await batches.stop()

    asyncio.run(lend())

    def score() -> int:
        with database.read() as connection:
            return int(connection.execute(sa.select(schema.leads.c.score)).scalar_one())

    assert score() == 5
    with Cartwheel("worker", database=shop, public_url="https://mail.shop.example") as worker:
        worker.wait_for("ready")
        until(lambda: score() == 0)
    database.close()


class LentPoints:
    """A lead with five points for a day."""

    wanted = ()
    idempotency = None
    origin = "tests"
    may_make_lead = True

    def __init__(self, account_id: int) -> None:
        self._account_id = account_id

    def decide(self, desk: Desk) -> None:
        lead = Lead.create(
            self._account_id, desk.new_lead_id(), "ada@shop.example", desk.now, source="api", test=False, gdpr=Gdpr.OFF
        )
        lead.grant(5, 1, desk.now)
        desk.add(lead)


@pytest.mark.skipif(not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="needs /proc")
def test_the_worker_sends_is_replaced_when_it_dies_and_ends_with_the_server(shop: str, sink: Sink) -> None:
    with Cartwheel("serve", "--port", 0, database=shop, smtp=sink.url(), worker="yes") as server:
        url = server.wait_for_url()
        subscribe(url, "ada@shop.example")
        until(lambda: len(sink.messages) == 1)
        before = children(server.process.pid)
        for child in before:
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                os.kill(child, signal.SIGKILL)
        server.wait_for("was replaced")
        subscribe(url, "grace@shop.example")
        until(lambda: len(sink.messages) == 2)
        workers = children(server.process.pid)
        assert server.stop() == 0
        until(lambda: not any(Path(f"/proc/{child}").exists() for child in workers))
    assert [taken.rcpt for taken in sink.messages] == ["TO:<ada@shop.example>", "TO:<grace@shop.example>"]


def test_a_worker_takes_up_mail_servers_that_are_set_on_the_page(shop: str, sink: Sink) -> None:
    with closing(Database(shop)) as database, Cartwheel("serve", "--port", 0, database=shop, worker="yes") as server:
        url = server.wait_for_url()
        subscribe(url, "ada@shop.example")
        until(lambda: in_the_mailbox(database) == 1)
        with database.write() as connection:
            installation.put_mail_servers(connection, sink.url())
        server.wait_for("the mail servers were changed")
        subscribe(url, "grace@shop.example")
        until(lambda: len(sink.messages) == 1)
        assert in_the_mailbox(database) == 1
        assert server.stop() == 0


def in_the_mailbox(database: Database) -> int:
    with database.read() as connection:
        return len(mailbox.kept(connection, 1, 10))
