"""Who comes into a sequence, who waits, who leaves, and who is stuck: the API, the engine and the verbs together."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from office import Office, mails
from runshop import ADA, LATER, MAIL, NEW, NewShop, Shop, opened, shops

from cartwheel.bounces.reports import Kind as Reported
from cartwheel.bounces.reports import Report
from cartwheel.data import schema
from cartwheel.data.signingkeys import link_signer
from cartwheel.leads.mails import MailState
from cartwheel.mail.links import Kind, MailId
from cartwheel.sending.tracking import record
from commandline import Cartwheel
from conftest import Databases


@pytest.fixture(scope="module")
def office(engine: str, databases: Databases) -> Iterator[Office]:
    with opened(engine, databases) as running:
        yield running


@pytest.fixture
def shop(office: Office, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch) -> NewShop:
    return shops(office, cartwheel, monkeypatch)


# -- one at a time, and who may come again --


def test_a_lead_is_in_a_sequence_once_however_many_call_at_once(shop: NewShop) -> None:
    flow = shop(LATER)
    flow.start()
    flow.start()
    with ThreadPoolExecutor(8) as callers:
        list(
            callers.map(
                lambda _: flow.api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="1"),
                range(16),
            )
        )
    assert len(flow.api.rows(schema.enrolments)) == 1
    flow.pass_time(days=2)
    assert flow.mailed == ["1"]
    assert flow.run["status"] == "completed"
    flow.start()  # who has completed it is still in it
    assert len(flow.api.rows(schema.enrolments)) == 1


def test_who_left_may_come_again_unless_the_sequence_says_once(shop: NewShop) -> None:
    for again, runs in ((True, 2), (False, 1)):
        flow = shop(LATER, entry={"again": again})
        flow.start()
        flow.leave()
        flow.start()
        assert len(flow.api.rows(schema.enrolments)) == runs
        assert flow.run["status"] == ("active" if again else "unsubscribed")


def test_a_limit_counts_the_starts_within_its_days(shop: NewShop) -> None:
    flow = shop(LATER, entry={"most": 2, "days": 30})
    for _ in range(4):
        flow.start()
        flow.leave()
    assert len(flow.api.rows(schema.enrolments)) == 2
    flow.pass_time(days=29)
    flow.start()
    assert len(flow.api.rows(schema.enrolments)) == 2
    flow.pass_time(days=2)
    flow.start()
    assert len(flow.api.rows(schema.enrolments)) == 3


# -- pauses --


@pytest.mark.parametrize("by", ["verb", "file"])
def test_a_pause_holds_everybody_and_delays_begin_anew(shop: NewShop, by: str) -> None:
    flow = shop(MAIL, LATER)
    flow.start()
    assert flow.mailed == ["1"]
    if by == "verb":
        assert flow("pause") == "Flow is paused now.\n"
        assert flow("pause") == "Flow is paused already.\n"
    else:
        flow.edit(MAIL, LATER, paused=True)
    flow.pass_time(days=5)
    assert flow.mailed == ["1"]
    flow.start("grace@shop.example")  # who comes meanwhile waits at the start
    assert mails(flow.api, "grace@shop.example") == []
    if by == "verb":
        assert flow("resume") == "Flow is running now.\n"
    else:
        flow.edit(MAIL, LATER, paused=False)
    flow.office.settle()
    assert [mail.box for mail in mails(flow.api, "grace@shop.example")] == ["1"]
    flow.pass_time(days=2, minutes=-1)
    assert flow.mailed == ["1"]
    flow.pass_time(minutes=1, seconds=1)
    assert flow.mailed == ["1", "2"]


def test_who_is_held_by_a_process_that_reads_late_of_the_end_of_a_pause_goes_on(shop: NewShop) -> None:
    flow = shop(LATER)
    flow.start()
    flow("pause")
    flow("resume")
    flow.office.settle()
    with flow.api.server.database.write() as connection:  # what a batch commits that began before
        mine = schema.enrolments.c.account_id == flow.api.account_id
        values = {"due_at": None, "reason": "", "held": True}
        connection.execute(sa.update(schema.enrolments).where(mine).values(**values))
    flow.pass_time(seconds=31)
    assert flow.run["due_at"] is not None
    flow.pass_time(days=2)
    assert flow.mailed == ["1"]


# -- leaving --


def by_link(flow: Shop) -> None:
    [mail] = mails(flow.api, ADA)
    database = flow.api.server.database
    token = link_signer(database).token(Kind.UNSUBSCRIBE, _mail_id(flow), 0, "")
    answer = flow.api.server.http.post(f"/u/{token}", data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    assert mail.state is MailState.ACCEPTED


def by_complaint(flow: Shop) -> None:
    server = flow.api.server
    signer = link_signer(server.database)
    report = Report(
        kind=Reported.COMPLAINT, return_paths=(signer.bounce_address(_mail_id(flow), "bounces@shop.example"),)
    )
    assert server.run(lambda: record(report, server.application.batches, server.database, signer)) == 1


def _mail_id(flow: Shop) -> MailId:
    [mail] = mails(flow.api, ADA)
    return MailId(flow.api.account_id, int(flow.api.lead(ADA)["id"]), mail.key)


LEAVINGS: dict[str, Callable[[Shop], None]] = {
    "API": Shop.leave,
    "link": by_link,
    "complaint": by_complaint,
    "deletion": lambda flow: flow.api.delete(ADA),
}


@pytest.mark.parametrize("how", LEAVINGS)
def test_who_leaves_goes_no_further(shop: NewShop, how: str) -> None:
    flow = shop(MAIL, LATER, {"type": "assign_tag", "tag": "Customer"})
    flow.start()
    LEAVINGS[how](flow)
    flow.pass_time(days=3)
    assert (flow.run["status"], flow.run["step"]) == ("unsubscribed", "2")
    assert flow.api.rows(schema.lead_tags) == []
    assert len(flow.api.rows(schema.mails)) == 1


@pytest.mark.parametrize("how", ["API", "deletion"])
def test_who_leaves_before_a_queued_mail_has_gone_does_not_get_it(shop: NewShop, how: str) -> None:
    flow = shop(MAIL)
    flow.api.create(ADA)
    flow.api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="1")
    flow.office.take_along()
    LEAVINGS[how](flow)
    flow.office.settle()
    [mail] = flow.api.rows(schema.mails)
    assert mail["state"] == "suppressed"


# -- parked --


def test_a_circle_is_parked_and_shown_and_tries_again_when_it_was_mended(shop: NewShop) -> None:
    flow = shop(MAIL, {"type": "go_to", "to": "3"}, {"type": "go_to", "to": "2"})
    flow.start()
    told = flow("parked", "--json")
    assert told["count"] == 1
    [row] = told["parked"]
    assert (row["email"], row["version"], row["reason"]) == (
        ADA, 1, "it went through 100 steps without a pause, which looks like a circle"
    )  # fmt: skip
    shown = flow("parked")
    assert ADA in shown
    assert "looks like a circle" in shown
    assert "`cartwheel sequence unpark Flow --all`" in shown

    assert flow("unpark", "--all") == "1 lead tries again.\n"
    flow.office.settle()
    assert flow.run["status"] == "parked"  # nothing was mended
    flow.edit(MAIL, {"type": "go_to", "to": "3"}, NEW)
    assert flow("move", "--yes").endswith("1 moved, 0 stayed.\n")
    assert flow.run["status"] == "parked"
    assert flow("unpark", ADA) == f"{ADA} tries again.\n"
    flow.office.settle()
    assert flow.mailed == ["1", "3"]
    assert [kind for kind in flow.kinds if kind.startswith("sequence")] == [
        "sequence_joined", "sequence_parked", "sequence_unparked", "sequence_parked", "sequence_moved",
        "sequence_unparked", "sequence_completed",
    ]  # fmt: skip
    assert flow("unpark", ADA) == f"cartwheel: {ADA} is not parked in Flow"
    assert "Nobody is parked in Flow." in flow("parked")
    assert "name a lead, or give --all" in flow("unpark")


def test_what_the_account_does_not_have_any_more_parks_with_the_reason(shop: NewShop) -> None:
    flow = shop({"type": "assign_tag", "tag": "Customer"})
    with flow.api.server.database.write() as connection:
        connection.execute(sa.delete(schema.tags).where(schema.tags.c.account_id == flow.api.account_id))
    flow.edit({"type": "assign_tag", "tag": "Customer"})  # makes the tag again, and tells every process
    with flow.api.server.database.write() as connection:
        connection.execute(sa.delete(schema.tags).where(schema.tags.c.account_id == flow.api.account_id))
    flow("pause")
    flow.start()
    flow("resume")
    flow.office.settle()
    assert (flow.run["status"], flow.run["reason"]) == ("parked", "There is no tag of this name: Customer")
    flow.edit({"type": "assign_tag", "tag": "Customer"})
    flow("unpark", ADA)
    flow.office.settle()
    assert flow.run["status"] == "completed"
