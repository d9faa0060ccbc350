"""A worker that is killed in the middle of a call leaves nothing undone, and nothing out of order."""

import signal

import sqlalchemy as sa
from hookshop import SECRET, deliveries, endpoint, silence_others
from receiver import STALL, Receiver
from standardwebhooks import Webhook

from cartwheel import times
from cartwheel.data import schema
from harness import Api
from running import Cartwheel
from waiting import wait_until

ADA = "ada@shop.example"


def worker(api: Api) -> Cartwheel:
    url = "https://mail.shop.example"
    return Cartwheel("worker", database=api.server.database.url, public_url=url, allow_private_targets="yes")


def test_a_killed_worker_loses_nothing(api: Api) -> None:
    silence_others(api)
    api.server.clock.now = times.now()  # the workers go by the real one
    with Receiver(usual=STALL) as receiver:
        endpoint(api, receiver.url(), {"assign_tag": None, "unassign_tag": None})
        api.create(ADA)
        for cmd in ("assign_tag", "unassign_tag", "assign_tag"):
            api.on(ADA, cmd, tag_name="Customer")
        with worker(api) as killed:
            wait_until(lambda: len(receiver.got) == 1, "the worker has not called")
            killed.stop(signal.SIGKILL)
        receiver.usual = 200
        end_leases(api)
        with worker(api) as other:
            wait_until(lambda: len(receiver.got) == 4, "not everything has come")
            wait_until(lambda: {row["state"] for row in deliveries(api)} == {"delivered"}, "not everything is logged")
            assert other.stop() == 0
    assert [got.action for got in receiver.got] == ["assign_tag", "assign_tag", "unassign_tag", "assign_tag"]
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 3
    assert all(Webhook(SECRET).verify(got.body, got.headers) == got.json for got in receiver.got)


def end_leases(api: Api) -> None:
    """As if a minute had passed."""
    table = schema.hook_deliveries
    with api.server.database.write() as connection:
        mine = (table.c.account_id == api.account_id) & table.c.next_at.is_not(None)
        connection.execute(sa.update(table).where(mine).values(next_at=0))
