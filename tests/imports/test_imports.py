"""Leads are imported from a file: each row as the file says it, once, whatever happens meanwhile, and back again."""

import asyncio
import csv
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from importshop import ImportShop

from cartwheel.accounts import Account
from cartwheel.data import doctor, schema
from cartwheel.data.importstore import State
from cartwheel.data.importtables import import_leads, import_refusals, import_slices, imports
from cartwheel.imports import refused
from cartwheel.imports.running import ImportRunner, report_of
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part, Source
from cartwheel.work.leadwork import EditWork, EraseWork, NewLeadWork, SuppressionWork
from conftest import Databases

ROWS = """Email,First Name,Tags,Lists,shoe_size,Plan,Score
ada@shop.example,Ada,Customer; VIP,Newsletter,38,Gold,12
bob@shop.example,Bob,,Newsletter,,,
nobody,No,,,,,
cyd@shop.example,Cyd,Stranger,,,,
ada@shop.example,Second,,,,,
"""


@pytest.fixture
def shop(engine: str, databases: Databases) -> Iterator[ImportShop]:
    made = ImportShop(databases.new(engine))
    yield made
    made.close()


@pytest.fixture
def small(databases: Databases) -> Iterator[ImportShop]:
    """Where the engine makes no difference."""
    made = ImportShop(databases.new("sqlite"))
    yield made
    made.close()


def kinds(shop: ImportShop, email: str) -> list[str]:
    rows = shop.rows(schema.events, lead_id=shop.lead(email)["id"])
    return [row["kind"] for row in sorted(rows, key=lambda row: row["id"])]


def edit(shop: ImportShop, email: str, **profile: str) -> None:
    def change(lead: Lead, _account: Account, _now: object) -> None:
        lead.edit(profile, {})

    shop.submit(EditWork((shop.account_id, shop.lead(email)["id"]), Part.PROFILE, change, "cli"))


def add(shop: ImportShop, *emails: str) -> None:
    shop.submit(*(NewLeadWork(shop.account_id, email, {"first_name": "Old"}, "cli") for email in emails))


# -- what becomes of rows --


def test_rows_become_leads(shop: ImportShop) -> None:
    done = shop.run(ROWS, batch_tag="Import of March")
    assert (done.state, done.made, done.refused, done.repeated) == ("finished", 2, 2, 1)
    ada = shop.lead("ada@shop.example")
    assert (ada["first_name"], ada["score"], ada["source"]) == ("Ada", 12, Source.IMPORT)
    assert kinds(shop, "ada@shop.example") == ["lead_created", *["tag_assigned"] * 3, "list_joined", "points_given"]
    reasons = [row["reason"] for row in shop.rows(import_refusals)]
    assert reasons == ["nobody is no e-mail address", "there is no tag Stranger"]
    assert not any(row["rows"] for row in shop.rows(import_slices)), "the file is not kept"
    assert doctor.examine(shop.database, shop.clock()).healthy


def test_leads_that_there_are_get_what_the_file_says_beside_what_they_have(shop: ImportShop) -> None:
    add(shop, "ada@shop.example", "bob@shop.example")
    done = shop.run("Email,First Name,City,Tags\nada@shop.example,,Paris,VIP\nbob@shop.example,Old,,\n")
    assert (done.made, done.changed, done.same) == (0, 1, 1)
    ada = shop.lead("ada@shop.example")
    assert (ada["first_name"], ada["city"], ada["source"]) == ("Old", "Paris", Source.MANUAL)
    assert kinds(shop, "ada@shop.example") == ["lead_created", "lead_edited", "tag_assigned"]


def test_what_there_is_not_is_made_if_somebody_wants_that(shop: ImportShop) -> None:
    text = 'Email,Tags,Lists,Hat\nada@shop.example,"New one, VIP",News; new one ,L\nbob@shop.example,NEW ONE,,\n'
    done = shop.run(text, columns=["email", "tags", "lists", "new:hat"], make=True)
    assert (done.made, done.refused) == (2, 0)
    account = shop.account
    assert sorted(account.tag_names.values()) == ["Customer", "New one", "VIP"]
    assert sorted(account.list_names.values()) == ["News", "News, weekly", "Newsletter", "new one"]
    assert account.field("hat") is not None


def test_an_import_starts_nothing_by_itself(shop: ImportShop) -> None:
    shop.run(ROWS)
    assert shop.rows(schema.enrolments) == shop.rows(schema.mails) == []
    [sequence] = shop.account.sequence_by_id
    shop.run("Email\nzoe@shop.example\nbob@shop.example\n", sequence=sequence)
    assert len(shop.rows(schema.enrolments)) == 2


def test_consent_and_blocked_status_are_carried_over(shop: ImportShop) -> None:
    text = (
        "Email,GDPR status,Blocked status\nyes@shop.example,Accepted,no\nno@shop.example,Not accepted,\n"
        "gone@shop.example,,Hard bounce\nspam@shop.example,Accepted,Spam complaint\nodd@shop.example,Perhaps,\n"
    )
    done = shop.run(text)
    assert (done.made, done.refused) == (4, 1)
    status = {row["email"]: (row["gdpr_status"], bool(row["blacklisted"])) for row in shop.rows(schema.leads)}
    assert status == {
        "yes@shop.example": (2, False),
        "no@shop.example": (3, False),
        "gone@shop.example": (0, True),
        "spam@shop.example": (2, True),
    }
    reasons = {row["email"]: row["reason"] for row in shop.rows(schema.suppressions)}
    assert reasons == {"gone@shop.example": "hard bounce", "spam@shop.example": "complaint"}


def test_nobody_is_talked_out_of_a_no(shop: ImportShop) -> None:
    add(shop, "no@shop.example")
    number = shop.lead("no@shop.example")["id"]
    shop.submit(SuppressionWork((shop.account_id, number), suppressed=True, origin="cli"))
    shop.run("Email\nno@shop.example\n", consent="not accepted")
    shop.run("Email,Status\nno@shop.example,active\n", consent="accepted")
    assert (shop.lead("no@shop.example")["gdpr_status"], bool(shop.lead("no@shop.example")["blacklisted"])) == (3, True)


# -- both ways of making leads --

NAMES = st.sampled_from(["", "Customer", "VIP", "customer ;VIP", "Fresh", "VIP, Fresh", "News, weekly", "Newsletter"])
CELLS = {
    "Email": st.sampled_from(
        [f"p{number}@shop.example" for number in range(12)] + ["", "no address", "P1@Shop.example "]
    ),
    "First Name": st.sampled_from(["", "Ada", "=1+1", "\0", "Zoë 🧀", "x" * 1001]),
    "Tags": NAMES,
    "Lists": NAMES,
    "shoe_size": st.sampled_from(["", "38", "a\nb", '"']),
    "Colours": st.sampled_from(["", "Red", "red, blue", "Green"]),
    "Plan": st.sampled_from(["", "gold", "Lead"]),
    "Score": st.sampled_from(["", "7", "-3", "many"]),
    "GDPR": st.sampled_from(["", "yes", "no", "4", "what"]),
    "Communications": st.sampled_from(["", "yes", "no"]),
    "Notes": st.sampled_from(["", "a note"]),
    "Date joined": st.sampled_from(["", "2024-02-29", "2024-02-30", "2020-05-01 10:00:00"]),
    "Blocked": st.sampled_from(["", "", "", "unsubscribed", "bounced"]),
}
LINE = st.fixed_dictionaries(CELLS)


@pytest.fixture(scope="module")
def two_ways(databases: Databases) -> Iterator[dict[str, list[ImportShop]]]:
    made = {
        engine: [ImportShop(databases.new(engine)), ImportShop(databases.new(engine), plain_path=True)]
        for engine in ("sqlite", "postgresql")
    }
    yield made
    for shop in (shop for shops in made.values() for shop in shops):
        shop.close()


@settings(
    max_examples=int(os.environ.get("IMPORT_FILES", "8")),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    lines=st.lists(LINE, min_size=1, max_size=12),
    make=st.booleans(),
    batch_tag=st.sampled_from(["", "Batch"]),
    start=st.booleans(),
)
def test_many_at_once_is_the_same_as_one_by_one(
    two_ways: dict[str, list[ImportShop]],
    engine: str,
    lines: list[dict[str, str]],
    *,
    make: bool,
    batch_tag: str,
    start: bool,
) -> None:
    """Whatever the file: rows, events, counts and scores are those that the aggregate makes; and taken back, all is as before."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CELLS)
    writer.writeheader()
    writer.writerows(lines)
    after = []
    for shop in two_ways[engine]:
        before = shop.tables()
        sequence = next(iter(shop.account.sequence_by_id)) if start else 0
        columns = "email first_name tags lists field:shoe_size field:colours field:plan points consent contact notes joined blocked"
        done = shop.run(out.getvalue(), columns=columns.split(), make=make, batch_tag=batch_tag, sequence=sequence)
        assert done.state is State.FINISHED
        assert done.looked == done.rows
        after.append((shop.tables(), [(row["line"], row["reason"]) for row in shop.rows(import_refusals)]))
        shop.undo(done.id)
        assert shop.tables() == before
    assert after[0] == after[1]


# -- back again --


def test_an_import_is_taken_back_to_the_row(shop: ImportShop) -> None:
    add(shop, "ada@shop.example", "old@shop.example", "zoe@shop.example")
    shop.submit(SuppressionWork((shop.account_id, shop.lead("zoe@shop.example")["id"]), suppressed=True, origin="cli"))
    before = shop.tables()
    text = ROWS + "old@shop.example,Older,VIP,Newsletter,40,Silver,\n" + "zoe@shop.example,Zoe,Fresh,,,,\n"
    done = shop.run(text, make=True, batch_tag="Batch", consent="accepted", blocked="complaint")
    assert (done.made, done.changed) == (2, 3)
    assert shop.tables() != before
    undone = shop.undo(done.id)
    assert (undone.state, undone.undone, undone.kept) == ("undone", 5, 0)
    assert shop.tables() == before
    assert not [row for table in (import_leads, import_slices, import_refusals) for row in shop.rows(table)]


def test_what_was_changed_since_stays_and_is_told(shop: ImportShop) -> None:
    add(shop, "old@shop.example")
    done = shop.run("Email,City,Tags\nnew@shop.example,Paris,VIP\ntwo@shop.example,,\nold@shop.example,Paris,VIP\n")
    edit(shop, "new@shop.example", city="Rome")
    edit(shop, "old@shop.example", city="Rome")
    undone = shop.undo(done.id)
    assert (undone.undone, undone.kept) == (1, 2)
    assert {row["email"]: row["city"] for row in shop.rows(schema.leads)} == {
        "new@shop.example": "Rome",
        "old@shop.example": "Rome",
    }
    assert kinds(shop, "old@shop.example")[-1] == "tag_unassigned"


def test_erasing_a_lead_takes_what_imports_know_of_it(shop: ImportShop) -> None:
    add(shop, "mark@shop.example")
    shop.run("Email,City,Tags\nmark@shop.example,Paris,\nmark@shop.example,,Stranger\n")
    shop.submit(EraseWork((shop.account_id, shop.lead("mark@shop.example")["id"]), "cli"))
    kept = [row for table in (imports, import_leads, import_refusals, import_slices) for row in shop.rows(table)]
    assert "mark@" not in str(kept)


# -- trying it out --


def test_a_dry_run_counts_what_the_import_then_does_and_does_nothing(shop: ImportShop) -> None:
    add(shop, "bob@shop.example")
    before = shop.tables()
    number = shop.begin(ROWS, State.CHECKING, make=True)
    shop.finish()
    report = report_of(shop.get(number))
    assert shop.tables() == before
    assert report.tags == ["Stranger"]
    assert report.reasons == {"nobody is no e-mail address": 1}
    shop.put(number, State.RUNNING)
    shop.finish()
    done = shop.get(number)
    assert report.counts == {name: getattr(done, name) for name in ("made", "changed", "refused", "repeated")}


# -- after a crash --

DRIVER = """
import asyncio, sys
sys.path[:0] = sys.argv[2:]
from cartwheel import times
from cartwheel.data.db import Database
from cartwheel.imports.running import ImportRunner
from harness import Clock
async def main():
    runner = ImportRunner(Database(sys.argv[1]), clock=Clock())
    print("ready", flush=True)
    while await runner.round():
        pass
asyncio.run(main())
"""


def many(rows: int) -> str:
    lines = [
        f"p{number * 7 % 2500}@shop.example,P{number},Customer; T{number % 7},Newsletter,{number}"
        for number in range(rows)
    ]
    return "\n".join(["Email,First Name,Tags,Lists,shoe_size", *lines])


def test_an_import_that_is_killed_goes_on_as_if_nothing_had_been(engine: str, databases: Databases) -> None:
    """Three times, wherever it is, in a process of its own; at last it is the same as an import that nobody disturbed."""
    unbroken, broken = (ImportShop(databases.new(engine)) for _ in range(2))
    add(broken, "p7@shop.example")
    add(unbroken, "p7@shop.example")
    unbroken.run(many(3000), make=True)
    number = broken.begin(many(3000), make=True)
    chance = random.Random(5)
    for _ in range(3):
        broken.put(number, State.RUNNING)
        kill_in_the_middle(broken, number, chance.random() * 0.05)
    assert broken.get(number).state is State.RUNNING
    broken.put(number, State.RUNNING)
    broken.finish()
    assert broken.tables() == unbroken.tables()
    done, whole = broken.get(number), unbroken.get(1)
    assert (done.made, done.same, done.repeated) == (whole.made, whole.same, whole.repeated)
    for shop in (broken, unbroken):
        shop.close()


def kill_in_the_middle(shop: ImportShop, number: int, pause_s: float) -> None:
    """As soon as one slice more is done, and a moment after."""
    done = shop.get(number).done
    process = subprocess.Popen([sys.executable, "-c", DRIVER, shop.database.url, *sys.path], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while shop.get(number).done <= done and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(pause_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_two_processes_do_each_slice_once(shop: ImportShop) -> None:
    number = shop.begin(many(3000), make=True)

    async def both() -> None:
        runners = [ImportRunner(shop.database, clock=shop.clock) for _ in range(2)]
        found = shop.get(number)
        await asyncio.gather(*(runner.go_on(found, 60) for runner in runners))
        for runner in runners:
            await runner.close()

    shop.do(both())
    shop.put(number, State.RUNNING)
    shop.finish()
    done = shop.get(number)
    assert (done.made, done.rows, done.done) == (2500, 3000, 6)
    assert len(shop.rows(schema.leads)) == 2500


# -- refused rows --


def test_refused_rows_come_back_as_a_file_that_can_be_imported(small: ImportShop) -> None:
    text = 'Email,First Name,Tags\nada@shop.example,=cmd(),Nope\nbob@shop.example,+49 30,"Nope; ""x"""\n'
    done = small.run(text)
    assert done.refused == 2
    written = "".join(refused.written(small.database, done))
    rows = list(csv.reader(io.StringIO(written)))
    assert rows[0] == ["Email", "First Name", "Tags", "Line", "Refused because"]
    assert rows[1] == ["ada@shop.example", "'=cmd()", "Nope", "2", "there is no tag Nope"]
    again = small.run(written, make=True)
    assert (again.made, again.refused) == (2, 0)
    assert small.lead("ada@shop.example")["first_name"] == "=cmd()"


def test_old_imports_are_forgotten(small: ImportShop) -> None:
    from cartwheel.data import importstore  # noqa: PLC0415

    small.run(ROWS)
    draft = small.keep(ROWS)
    small.clock.forward(days=2)
    while importstore.forget(small.database, small.clock()):
        pass
    assert [row["id"] for row in small.rows(imports)] == [1]
    assert draft == 2
    small.clock.forward(days=13)
    while importstore.forget(small.database, small.clock()):
        pass
    assert small.rows(import_refusals) == small.rows(import_slices) == []
    with small.database.read() as connection:
        assert connection.execute(sa.select(imports.c.samples)).scalars().all() == [""]
