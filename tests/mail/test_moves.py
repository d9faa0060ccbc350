"""What an edit does to those who are under way (nothing), and what a move does."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from office import Office, mails
from runshop import ADA, LATER, MAIL, NEW, NewShop, Shop, opened, shops

from cartwheel.data import schema
from cartwheel.leads.mails import MailState
from commandline import Cartwheel
from conftest import Databases

WAIT = {"type": "wait_until", "condition": {"type": "has_tag", "tag": "Customer"}}


@pytest.fixture(scope="module")
def office(engine: str, databases: Databases) -> Iterator[Office]:
    with opened(engine, databases) as running:
        yield running


@pytest.fixture
def shop(office: Office, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch) -> NewShop:
    return shops(office, cartwheel, monkeypatch)


# -- versions --


def test_an_edit_moves_nobody_who_is_under_way(shop: NewShop) -> None:
    flow = shop(MAIL, LATER)
    flow.start()
    flow.edit(MAIL, NEW)
    flow.start("grace@shop.example")
    assert [mail.version for mail in mails(flow.api, "grace@shop.example")] == [2, 2]
    flow.pass_time(days=1)
    assert flow.mailed == ["1"]
    flow.pass_time(days=1)
    assert [(mail.box, mail.version) for mail in mails(flow.api, ADA)] == [("1", 1), ("2", 1)]


def test_who_keeps_to_an_old_version_is_still_woken(shop: NewShop) -> None:
    flow = shop(WAIT, MAIL)
    flow.start()
    flow.edit(LATER)  # waits for nothing
    flow.api.on(ADA, "assign_tag", tag_name="Customer")
    flow.office.settle()
    assert flow.mailed == ["2"]


def test_a_move_is_shown_first_and_done_with_yes(shop: NewShop) -> None:
    flow = shop(MAIL, LATER)
    flow.start()
    flow.edit(MAIL, NEW | {"delay": "3 days"})
    plan = flow("move", "--json")
    line = {"version": 1, "box": "2", "parked": False, "leads": 1, "to": "2", "why": ""}
    assert plan == {
        "account": flow.name, "sequence": "Flow", "to": 2, "lines": [line], "going": 1, "staying": 0, "done": False,
        "moved": 0, "stayed": 0,
    }  # fmt: skip
    assert flow("move").endswith("1 would move, 0 would stay. Nothing is done without --yes.\n")
    assert flow.run["version"] == 1
    flow.pass_time(days=1)
    assert flow("move", "--yes", "--json")["moved"] == 1
    flow.office.settle()
    assert (flow.run["version"], flow.kinds[-1]) == (2, "sequence_moved")
    flow.pass_time(days=2, minutes=-2)  # its three days began when it came to the step
    assert flow.mailed == ["1"]
    flow.pass_time(minutes=3)
    assert [(mail.box, mail.version) for mail in mails(flow.api, ADA)] == [("1", 1), ("2", 2)]
    assert "Nobody is in another version." in flow("move", "--map", "2=2", "--yes")


def test_queued_mails_go_out_as_they_are(shop: NewShop) -> None:
    flow = shop(MAIL, LATER)
    flow.api.create(ADA)
    flow.api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="1")
    flow.office.take_along()
    flow.edit(NEW, LATER)
    assert flow("move", "--yes", "--json")["moved"] == 1
    flow.office.settle()
    assert [(mail.box, mail.version, mail.state) for mail in mails(flow.api, ADA)] == [("1", 1, MailState.ACCEPTED)]


def test_who_has_no_such_step_or_would_get_a_mail_again_stays(shop: NewShop) -> None:
    flow = shop(MAIL, LATER, LATER | {"subject": "Last"}, WAIT)
    for email, step in ((ADA, "1"), ("grace@shop.example", "2"), ("lin@shop.example", "4")):
        flow.start(email, step)
    flow.pass_time(days=2)  # Ada stands at 3 and has had 1 and 2; Grace stands at 3 and has had 2
    flow.edit(MAIL, NEW, LATER, LATER | {"subject": "Last"})
    lines = {(line["box"], line["to"]): (line["leads"], line["why"]) for line in flow("move", "--json")["lines"]}
    again = "it would be sent the mail of step 3 again"
    assert lines == {("3", None): (2, again), ("4", "4"): (1, "")}
    mapped = {(line["box"], line["to"]): line["leads"] for line in flow("move", "--map", "3=4", "--json")["lines"]}
    assert mapped == {("3", "4"): 2, ("4", "4"): 1}
    flow.edit(MAIL, NEW)
    shown = flow("move", "--yes")
    assert "stays: version 3 has no step 4" in shown
    assert shown.endswith("0 moved, 3 stayed.\n")


def test_mails_of_an_earlier_run_keep_nobody(shop: NewShop) -> None:
    flow = shop(MAIL, NEW, LATER)
    flow.start()
    flow.leave()
    flow.start(step="3")
    flow.edit(MAIL, LATER, NEW | {"delay": "1 day"})  # Ada got `New` before she left
    told = flow("move", "--yes", "--json")
    assert (told["going"], told["moved"]) == (1, 1)


def test_a_move_may_take_those_of_one_version_or_of_all(shop: NewShop) -> None:
    flow = shop(LATER)
    flow.start()
    flow.edit(LATER, NEW)
    flow.start("grace@shop.example")
    flow.edit(LATER, MAIL)
    assert flow("move") == "cartwheel: leads of Flow are in versions 1, 2: name one with --from, or take --all"
    assert flow("move", "--from", 2, "--json")["going"] == 1
    assert flow("move", "--all", "--to", 2, "--yes", "--json")["moved"] == 1
    assert flow("move", "--from", 2, "--yes", "--json")["moved"] == 2


def test_a_move_that_cannot_be_meant_is_refused(shop: NewShop) -> None:
    flow = shop(LATER)
    flow.start()
    flow.edit(LATER, NEW)
    assert flow("move", "--to", 7) == "cartwheel: the sequence Flow has no version 7; the newest is 2"
    assert flow("move", "--from", 7) == "cartwheel: the sequence Flow has no version 7; the newest is 2"
    assert flow("move", "--map", "1=9") == "cartwheel: --map 1=9: version 2 has no step 9"
    assert flow("move", "--map", "9=1") == "cartwheel: --map 9=1: no version that is moved has a step 9"
    assert "give it as OLD=NEW" in flow("move", "--map", "1")
    assert "give --from or --all, not both" in flow("move", "--from", 1, "--all")


def test_who_is_held_is_moved_and_goes_on_when_the_pause_ends(shop: NewShop) -> None:
    flow = shop(MAIL, LATER)
    flow.start()
    flow("pause")
    flow.pass_time(days=3)
    flow.edit(MAIL, NEW | {"delay": "1 day"}, paused=True)
    assert flow("move", "--yes", "--json")["moved"] == 1
    flow.pass_time(days=3)
    assert flow.mailed == ["1"]
    flow("resume")
    flow.pass_time(hours=23)
    assert flow.mailed == ["1"]
    flow.pass_time(hours=2)
    assert flow.mailed == ["1", "2"]


# -- looking --


def test_the_sequences_are_listed_and_shown_with_who_is_where(shop: NewShop, cartwheel: Cartwheel) -> None:
    flow = shop(MAIL, LATER)
    flow.start()
    flow.edit(MAIL, LATER, NEW)
    flow.start("grace@shop.example")
    flow.start("lin@shop.example", "3")
    flow.leave()
    flow.start()
    [listed] = cartwheel("sequence", "list", "--account", flow.name, "--json").json
    assert listed == {
        "name": "Flow", "version": 2, "steps": 3, "paused": False,
        "runs": {"active": 2, "completed": 1, "left": 0, "parked": 0},
    }  # fmt: skip
    assert "Flow" in cartwheel("sequence", "list", "--account", flow.name).out
    flow.edit(MAIL)
    told = flow("show", "--json")
    assert [version["version"] for version in told["versions"]] == [3, 2]
    assert [(step["box"], step["active"]) for step in told["versions"][1]["steps"]] == [("1", 0), ("2", 2), ("3", 0)]
    shown = flow("show")
    assert "Version 3 (the newest)" in shown
    assert "email Later, after 2 days" in shown
    assert (
        "has no sequence Nothing; there are: Flow"
        in cartwheel("sequence", "show", "Nothing", "--account", flow.name).trouble
    )


def test_why_says_what_helps(shop: NewShop, cartwheel: Cartwheel) -> None:
    flow = shop(MAIL, LATER)
    flow.start()
    flow.edit(MAIL, NEW, paused=True)
    told = cartwheel("why", ADA, "Flow", "--account", flow.name).out
    assert "`cartwheel sequence resume Flow` lets everybody in it go on." in told
    assert "`cartwheel sequence move Flow --from 1` shows where it would go there." in told


# -- a move that is killed --


def test_a_move_that_is_killed_is_finished_by_the_next(shop: NewShop) -> None:
    flow = shop(LATER)
    flow.start()
    fill(flow, 1500)
    flow.edit(LATER, NEW)
    command = [sys.executable, "-m", "cartwheel", "sequence", "move", "Flow", "--yes", "--account", flow.name]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=dict(os.environ)) as moving:
        while not moved(flow):
            assert moving.poll() is None
        os.kill(moving.pid, signal.SIGKILL)
    done = moved(flow)
    assert 0 < done < 1501
    told = flow("move", "--yes", "--json")
    assert (told["moved"], told["stayed"]) == (1501 - done, 0)
    assert moved(flow) == 1501
    events = flow.api.rows(schema.events, kind="sequence_moved")
    assert len({row["lead_id"] for row in events}) == len(events) == 1501
    flow.leave()


def moved(flow: Shop) -> int:
    with flow.api.server.database.read() as connection:
        table = schema.enrolments
        query = sa.select(sa.func.count()).where(table.c.account_id == flow.api.account_id, table.c.version == 2)
        return int(connection.execute(query).scalar_one())


def fill(flow: Shop, count: int) -> None:
    """More leads that stand where Ada does."""
    [lead] = flow.api.rows(schema.leads)
    leads = [lead | {"id": lead["id"] + 10_000 + n, "email": f"lead{n}@shop.example"} for n in range(count)]
    runs = [flow.run | {"lead_id": row["id"]} for row in leads]
    with flow.api.server.database.write() as connection:
        connection.execute(sa.insert(schema.leads), leads)
        connection.execute(sa.insert(schema.enrolments), runs)
