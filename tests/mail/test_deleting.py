"""Deleting puts a lead away: it gets nothing more, and restoring it brings back what it is, not what it was in."""

import threading
import time
from collections.abc import Iterator

import pytest
from office import Office
from runshop import ADA, LATER, MAIL, NewShop, Shop, shops
from sink import WAIT, Sink

from cartwheel.data import doctor, schema
from cartwheel.work.leadwork import DeletionWork
from commandline import Cartwheel
from conftest import Databases
from harness import Server


@pytest.fixture
def server(engine: str, databases: Databases) -> Iterator[Server]:
    running = Server(databases.new(engine))
    yield running
    running.stop()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


@pytest.fixture
def shop(server: Server, sink: Sink, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch) -> Iterator[NewShop]:
    office = Office(server, CARTWHEEL_SMTP=sink.url())
    yield shops(office, cartwheel, monkeypatch)
    office.close()


def restore(flow: Shop) -> None:
    [row] = flow.api.rows(schema.leads, email=ADA)
    work = DeletionWork((flow.api.account_id, row["id"]), deleted=False, origin="cli")
    flow.api.server.run(lambda: flow.api.server.application.batches.submit(work))


def trouble(server: Server) -> list[str]:
    """What the doctor finds."""
    return [result.name for result in doctor.examine(server.database, server.clock()).results if result.found]


def test_deleting_ends_the_runs_and_keeps_back_what_waits_at_once(shop: NewShop, sink: Sink, server: Server) -> None:
    flow = shop(MAIL, LATER)
    sink.script["rcpt"] = ["450 4.2.0 come again"]
    flow.start()
    flow.api.delete(ADA)
    assert (flow.run["status"], flow.run["due_at"]) == ("unsubscribed", None)
    [mail] = flow.api.rows(schema.mails)
    assert (mail["state"], mail["reply"]) == ("suppressed", "the lead was deleted")
    assert trouble(server) == []


@pytest.mark.parametrize("days", [0, 5])
def test_a_restored_lead_has_its_profile_and_does_not_go_on_however_soon_it_comes_back(
    shop: NewShop, sink: Sink, server: Server, days: int
) -> None:
    flow = shop(MAIL, LATER)
    flow.api.create(ADA, city="London")
    flow.api.on(ADA, "assign_tag", tag_name="Customer")
    flow.start()
    flow.api.delete(ADA)
    flow.pass_time(days=days)
    restore(flow)
    flow.pass_time(days=5)
    assert len(sink.messages) == 1
    lead = flow.api.lead(ADA)
    assert (lead["city"], len(lead["tags"]), flow.run["status"]) == ("London", 1, "unsubscribed")
    flow.start()
    assert len(sink.messages) == 2, "it may begin anew"
    assert trouble(server) == []


def test_a_mail_that_is_put_off_while_its_lead_is_deleted_is_not_sent_to_the_restored(
    shop: NewShop, sink: Sink
) -> None:
    flow = shop(MAIL)  # its run is complete
    flow.api.create(ADA)
    flow.api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="1")
    sink.script |= {"mail": [WAIT], "rcpt": ["450 4.2.0 come again"]}
    sending = threading.Thread(target=flow.office.settle)
    sending.start()
    deadline = time.monotonic() + 30
    while not sink.waiting:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    flow.api.delete(ADA)
    restore(flow)
    sink.go_on()
    sending.join()
    flow.pass_time(days=1)
    assert [row["state"] for row in flow.api.rows(schema.mails)] == ["suppressed"]
    assert (flow.run["status"], sink.messages) == ("completed", [])
