"""Deliveries arrive: in order, in spite of whatever the other side does, and slow nobody else down."""

import json
from datetime import timedelta

import pytest
from hookshop import Teller, deliveries, endpoint, health
from receiver import BABBLE, DROP, ENDLESS, STALL, Receiver

from cartwheel.data import hookstore
from cartwheel.hooks import delivering, posting
from cartwheel.hooks.delivering import PAUSES
from harness import Api
from waiting import wait_until

ADA, GRACE = "ada@shop.example", "grace@shop.example"
TAGGING = {"assign_tag": None, "unassign_tag": None}


def tag(api: Api, *emails: str, times: int = 1) -> None:
    """Give and take a tag so often."""
    for _ in range(times):
        for email in emails:
            api.on(email, "assign_tag", tag_name="Customer")
            api.on(email, "unassign_tag", tag_name="Customer")


def states(api: Api) -> list[str]:
    return [row["state"] for row in deliveries(api)]


def heard(receiver: Receiver, email: str) -> list[str]:
    return [got.action for got in receiver.got if got.json["lead"]["email"] == email]


def test_what_is_taken_is_logged(api: Api) -> None:
    with Receiver(usual=201) as receiver, Teller(api) as teller:
        endpoint(api, receiver.url(), TAGGING)
        api.create(ADA)
        tag(api, ADA)
        teller.settle()
    for row in deliveries(api):
        assert (row["state"], row["status"], row["answer"], row["attempts"]) == ("delivered", 201, '{"status": 201}', 1)
        assert row["next_at"] is None
        assert row["micros"] > 0


@pytest.mark.parametrize("deed", [500, 404, 301, 302, 307, 410, DROP, STALL, BABBLE])
def test_what_is_not_taken_is_tried_again_and_what_follows_waits(
    api: Api, deed: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "Location: http://127.0.0.1:1/elsewhere\r\n"
    with Receiver([deed], head=head) as receiver, Teller(api) as teller:
        endpoint(api, receiver.url(), TAGGING)
        api.create(ADA)
        tag(api, ADA)
        with monkeypatch.context() as patience:
            if deed == STALL:  # it is waited for in vain
                patience.setattr(posting, "TIMEOUT_S", 0.3)
            teller.settle()
        assert [got.target for got in receiver.got] == ["/hook?key=secret"]  # no redirect is followed
        first, second = deliveries(api)
        assert (first["state"], first["status"]) == ("queued", deed if isinstance(deed, int) else None)
        assert first["trouble"] or isinstance(deed, int)
        assert second["attempts"] == 0
        api.server.clock.forward(seconds=PAUSES[0].total_seconds())
        teller.settle()
        assert heard(receiver, ADA) == ["assign_tag", "assign_tag", "unassign_tag"]
    assert states(api) == ["delivered", "delivered"]


def test_an_answer_without_end_is_read_to_a_bound(api: Api) -> None:
    with Receiver([ENDLESS]) as receiver, Teller(api) as teller:
        endpoint(api, receiver.url(), {"assign_tag": None})
        api.create(ADA)
        api.on(ADA, "assign_tag", tag_name="Customer")
        teller.settle()
    [row] = deliveries(api)
    assert (row["state"], row["answer"]) == ("delivered", "x" * posting.MOST_KEPT)


def test_one_lead_that_is_refused_holds_up_no_other(api: Api) -> None:
    with Receiver([500]) as receiver, Teller(api) as teller:
        endpoint(api, receiver.url(), TAGGING)
        for email in (ADA, GRACE):
            api.create(email)
            tag(api, email)
            teller.settle()
        assert heard(receiver, ADA) == ["assign_tag"]
        assert heard(receiver, GRACE) == ["assign_tag", "unassign_tag"]


def test_after_three_days_a_delivery_is_parked_and_the_next_one_goes(api: Api) -> None:
    assert timedelta(days=2, hours=23) < sum(PAUSES, timedelta()) < timedelta(days=3)
    with Receiver([500] * (len(PAUSES) + 1)) as receiver, Teller(api) as teller:
        endpoint(api, receiver.url(), TAGGING)
        api.create(ADA)
        tag(api, ADA)
        for pause in (timedelta(), *PAUSES):
            api.server.clock.forward(seconds=pause.total_seconds())
            teller.settle()
        api.server.clock.forward(minutes=1)  # it has a pause, having failed so often
        teller.settle()
        assert states(api) == ["parked", "delivered"]
        assert [got.action for got in receiver.got] == ["assign_tag"] * 10 + ["unassign_tag"]


def test_a_dead_endpoint_is_paused_loses_nothing_and_goes_on(api: Api) -> None:
    with Receiver() as receiver, Teller(api) as teller:
        number = endpoint(api, receiver.url(), TAGGING)
        api.create(ADA)
        receiver.kill()
        tag(api, ADA)
        teller.settle()
        assert health(api, number).failing_since == api.server.clock()
        api.server.clock.forward(days=3, hours=1)
        api.create(GRACE)
        tag(api, GRACE)
        teller.settle()
        assert health(api, number).paused_why == hookstore.DEAD
        assert health(api, number).waiting == 4
        tried = [row["attempts"] for row in deliveries(api)]
        api.server.clock.forward(days=1)
        teller.settle()
        assert [row["attempts"] for row in deliveries(api)] == tried
        receiver.revive()
        with api.server.database.write() as connection:
            assert hookstore.resume(connection, api.account_id, number, api.server.clock())
        teller.settle()
        assert heard(receiver, ADA) == heard(receiver, GRACE) == ["assign_tag", "unassign_tag"]
    assert health(api, number) == (None, None, "", 0, 0)


def test_a_slow_endpoint_slows_no_other(api: Api) -> None:
    with Receiver(usual=STALL) as slow, Receiver() as quick, Teller(api) as teller:
        endpoint(api, slow.url(), TAGGING)
        endpoint(api, quick.url(), TAGGING)
        for number in range(30):
            api.create(f"lead{number}@shop.example")
        tag(api, *(f"lead{number}@shop.example" for number in range(30)))

        def all_came() -> bool:
            teller.begin()
            return len(quick.got) == 60

        wait_until(all_came, "the quick one has not got everything", 8)
        assert 0 < len(slow.got) <= delivering.PLACES
        slow.kill()


def test_a_poor_endpoint_is_called_by_one_at_a_time(api: Api) -> None:
    with Receiver(usual=500) as receiver, Teller(api) as teller:
        endpoint(api, receiver.url(), {"assign_tag": None})
        emails = [f"lead{number}@shop.example" for number in range(60)]
        for email in emails:
            api.create(email)
            api.on(email, "assign_tag", tag_name="Customer")
        teller.settle()
        first = len(receiver.got)
        assert first < len(emails)  # those in hand were given back
        teller.settle()
        assert len(receiver.got) == first
        api.server.clock.forward(minutes=1)
        teller.settle()
        assert len(receiver.got) == first + 1
        receiver.usual = 200
        for _ in range(8):
            api.server.clock.forward(minutes=5)
            teller.settle()
    assert states(api) == ["delivered"] * len(emails)


def test_a_lease_ends_and_another_process_delivers_under_the_same_id(api: Api) -> None:
    with Receiver(usual=STALL) as receiver, Teller(api) as dying:
        endpoint(api, receiver.url(), TAGGING)
        api.create(ADA)
        tag(api, ADA)
        dying.begin()
        wait_until(lambda: len(receiver.got) == 1, "nothing has come")
        receiver.usual = 200
        with Teller(api) as other:
            other.settle()
            assert len(receiver.got) == 1
            api.server.clock.forward(seconds=delivering.LEASE.total_seconds())
            other.settle()
        receiver.kill()
    ids = [got.headers["webhook-id"] for got in receiver.got]
    assert [got.action for got in receiver.got] == ["assign_tag", "assign_tag", "unassign_tag"]
    assert ids[0] == ids[1] != ids[2]
    assert states(api) == ["delivered", "delivered"]  # what the first one says of it then, does not count
    assert [row["attempts"] for row in deliveries(api)] == [2, 1]


def test_two_processes_deliver_everything_once_and_in_order(api: Api) -> None:
    emails = [f"lead{number}@shop.example" for number in range(10)]
    with Receiver() as receiver, Teller(api) as one, Teller(api) as other:
        endpoint(api, receiver.url(), TAGGING)
        for email in emails:
            api.create(email)
        tag(api, *emails, times=3)

        def all_came() -> bool:
            one.begin()
            other.begin()
            return len(receiver.got) >= 60

        wait_until(all_came, "not all has come", 20)
    assert all(heard(receiver, email) == ["assign_tag", "unassign_tag"] * 3 for email in emails)
    assert len(receiver.got) == 60


def test_parked_deliveries_are_tried_again_one_by_one_or_all(api: Api) -> None:
    with Receiver(usual=500) as receiver, Teller(api) as teller:
        number = endpoint(api, receiver.url(), TAGGING)
        api.create(ADA)
        tag(api, ADA)
        for _ in range(2):
            for pause in (timedelta(), *PAUSES):
                api.server.clock.forward(seconds=pause.total_seconds())
                teller.settle()
            api.server.clock.forward(minutes=1)
        assert states(api) == ["parked", "queued"]  # by then it was paused
        with api.server.database.write() as connection:
            assert hookstore.resume(connection, api.account_id, number, api.server.clock())
        receiver.usual = 200
        first = deliveries(api)[0]
        place = (first["lead_id"], first["id"], number)
        with api.server.database.write() as connection:
            assert hookstore.replay(connection, api.account_id, [place], api.server.clock()) == 1
            assert hookstore.replay(connection, api.account_id, [place], api.server.clock()) == 0
            assert hookstore.replay(connection, api.account_id + 1, [place], api.server.clock()) == 0
        teller.settle()
        with api.server.database.write() as connection:
            hookstore.replay_parked(connection, api.account_id, number, api.server.clock())
        teller.settle()
    assert states(api) == ["delivered", "delivered"]


def test_the_log_is_forgotten_in_time(api: Api) -> None:
    with Receiver() as receiver, Teller(api) as teller:
        endpoint(api, receiver.url(), {"assign_tag": None})
        dead = endpoint(api, "http://127.0.0.1:1/", {"assign_tag": None})
        api.create(ADA)
        api.on(ADA, "assign_tag", tag_name="Customer")
        teller.settle()
    api.server.clock.forward(days=7, minutes=1)
    hookstore.forget(api.server.database, api.server.clock())
    assert [row["endpoint"] for row in deliveries(api)] == [dead]
    api.server.clock.forward(days=23)
    hookstore.forget(api.server.database, api.server.clock())
    assert deliveries(api) == []


def test_what_is_delivered_is_what_the_log_has(api: Api) -> None:
    with Receiver() as receiver, Teller(api) as teller:
        endpoint(api, receiver.url(), {"assign_tag": None})
        api.create(ADA, first_name="Łucja \U0001f9c0")
        api.on(ADA, "assign_tag", tag_name="Customer")
        teller.settle()
    [row] = deliveries(api)
    assert json.loads(row["body"]) == receiver.got[0].json
