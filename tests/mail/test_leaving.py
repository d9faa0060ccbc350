"""What leaving, coming back and a change of address mean for the mails that still wait."""

import email
import re
import threading
import time

import pytest
import sqlalchemy as sa
from office import mails, states
from runshop import ADA, LATER, MAIL, NewShop, Shop
from sink import WAIT, Sink, Taken

from cartwheel.data import schema
from cartwheel.leads.mails import MailState
from harness import Server

NEW_ADDRESS = "ada.l@shop.example"
GREYLISTED = "450 4.2.0 come again"
ENDS_ITSELF = {"type": "unsubscribe"}


pytestmark = pytest.mark.own_server


def path_of(taken: Taken) -> str:
    """Of the link by which a mail is unsubscribed from."""
    head = email.message_from_bytes(taken.data)["List-Unsubscribe"]
    found = re.search(r"https://mail.shop.example(/u/[\w-]+)", head)
    assert found is not None
    return found[1]


def one_click(flow: Shop, taken: Taken) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = flow.api.server.http.post(path_of(taken), content=b"List-Unsubscribe=One-Click", headers=form)
    assert answer.text == "Unsubscribed\n"


def press(flow: Shop, taken: Taken, button: str) -> None:
    """A button of the preferences that a mail leads to."""
    page = flow.api.server.http.get(path_of(taken)).text
    found = re.search(r"\.\./(p/[\w-]+)", page)
    assert found is not None
    assert flow.api.server.http.post(f"/{found[1]}", data={"do": button}).status_code == 200


def renamed(flow: Shop) -> None:
    answer = flow.api.call({"cmd": "edit_lead"}, lead={"email": ADA, "new_email": NEW_ADDRESS})
    assert answer["message"] == "Lead updated"


# -- leaving --


@pytest.mark.parametrize("way", ["one click", "API", "page", "complaint"])
def test_who_leaves_gets_nothing_more_though_the_sequence_had_ended_itself(shop: NewShop, sink: Sink, way: str) -> None:
    flow = shop(MAIL, LATER, ENDS_ITSELF)
    flow.start()
    sink.script["rcpt"] = [GREYLISTED]
    flow.pass_time(days=2)
    assert states(flow.api, ADA) == [("1", MailState.ACCEPTED), ("2", MailState.QUEUED)]
    if way == "one click":
        one_click(flow, sink.messages[0])
    elif way == "API":
        flow.leave()
    else:
        press(flow, sink.messages[0], "leave_all" if way == "page" else "spam")
    flow.pass_time(days=1)
    assert len(sink.messages) == 1
    assert states(flow.api, ADA)[1] == ("2", MailState.SUPPRESSED)


def test_what_a_sequence_sent_before_it_ended_itself_arrives_also_when_the_lead_comes_back(
    shop: NewShop, sink: Sink
) -> None:
    flow = shop(MAIL, ENDS_ITSELF)
    sink.script["rcpt"] = [GREYLISTED]
    flow.start()
    flow.start()
    flow.pass_time(hours=2)
    assert [mail.state for mail in mails(flow.api, ADA)] == [MailState.ACCEPTED] * 2
    assert len(sink.messages) == 2


def test_who_left_and_comes_back_gets_nothing_of_the_first_time(shop: NewShop, sink: Sink) -> None:
    flow = shop(MAIL, LATER)
    sink.script["rcpt"] = [GREYLISTED]
    flow.start()
    flow.leave()
    flow.start()
    flow.pass_time(hours=2)
    assert [mail.state for mail in mails(flow.api, ADA)] == [MailState.SUPPRESSED, MailState.ACCEPTED]


# -- another address --


@pytest.mark.parametrize(("button", "reason"), [("never", "do not contact"), ("spam", "complaint")])
def test_what_a_person_has_said_goes_with_them_to_another_address(
    shop: NewShop, sink: Sink, button: str, reason: str
) -> None:
    flow = shop(MAIL)
    flow.start()
    press(flow, sink.messages[0], button)
    renamed(flow)
    assert {row["email"]: row["reason"] for row in flow.api.rows(schema.suppressions)}[NEW_ADDRESS] == reason
    flow.start(NEW_ADDRESS)
    assert len(sink.messages) == 1


def test_a_corrected_address_is_mailed_again(shop: NewShop, sink: Sink) -> None:
    flow = shop(MAIL, LATER)
    sink.script["rcpt"] = ["550 5.1.1 no such user"]
    flow.start()
    assert flow.api.lead(ADA)["blacklisted"] == 1
    renamed(flow)
    assert flow.api.lead(NEW_ADDRESS)["blacklisted"] == 0
    flow.pass_time(days=2)
    assert [message.rcpt for message in sink.messages] == [f"TO:<{NEW_ADDRESS}>"]


def test_a_bounce_of_the_old_address_says_nothing_of_the_new_one(server: Server, shop: NewShop, sink: Sink) -> None:
    flow = shop(LATER, LATER)
    flow.start()
    sink.script |= {"mail": [WAIT], "rcpt": ["550 5.1.1 no such user"]}
    server.clock.forward(days=2)
    sending = threading.Thread(target=flow.office.settle)
    sending.start()
    deadline = time.monotonic() + 30
    while not sink.waiting:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    renamed(flow)
    sink.go_on()
    sending.join()
    assert [row for row in flow.api.rows(schema.suppressions) if row["reason"]] == []


# -- a sequence that is not as others --


def test_a_long_sequence_is_no_circle(shop: NewShop) -> None:
    flow = shop(*[{"type": "points", "points": 1, "active": False}] * 120, MAIL)
    flow.start()
    assert flow.mailed == ["121"]


def test_a_version_that_cannot_be_read_stops_nobody_else(server: Server, shop: NewShop) -> None:
    broken, other = shop(MAIL), shop(MAIL)
    for flow in (broken, other):
        flow.api.create(ADA)
        flow.api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="1")
    table = schema.flows
    with server.database.write() as connection:
        mine = table.c.account_id == broken.api.account_id
        connection.execute(sa.update(table).where(mine).values(steps='[{"type": "of the future", "box": "1"}]'))
    other.office.settle()
    assert other.mailed == ["1"]
    assert (broken.run["status"], broken.run["reason"]) == (
        "parked", "version 1 of the sequence is gone or cannot be read: see the log",
    )  # fmt: skip
