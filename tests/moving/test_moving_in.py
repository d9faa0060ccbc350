"""`cartwheel move from-kartra` between two servers: all of it arrives, whatever happens on the way."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from badline import FAULTS, BadLine
from movers import DELETED, address, details, origin

from cartwheel.client import KartraClient
from cartwheel.data import catalog, doctor, importstore, schema
from cartwheel.imports.deciding import Refused
from cartwheel.moving import fetching, running
from cartwheel.moving.answers import MovePlan
from commandline import Cartwheel
from conftest import Databases
from harness import Api, Server, new_api
from waiting import wait_until

LEADS = int(os.environ.get("MOVE_LEADS", "200"))
FEW = 30

NEW = '[account]\nname = "New"\n[[apps]]\nname = "Website"\nrate_limit = 0\n'


@pytest.fixture(scope="module")
def there(engine: str, databases: Databases) -> Iterator[Api]:
    """An account that is moved from; nothing changes it."""
    server = Server(databases.migrated(engine))
    yield origin(server, FEW)
    server.stop()


@pytest.fixture
def here(engine: str, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Where the settings say that the database is."""
    server = Server(databases.migrated(engine))
    monkeypatch.setenv("CARTWHEEL_DATABASE", server.database.url)
    yield server
    server.stop()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return export(tmp_path / "contacts.csv", FEW)


def export(path: Path, leads: int) -> Path:
    """As Kartra writes it, and with rows of all kinds that cannot be moved."""
    rows = [f'"{number}";"{address(number).upper()}";"a,b"' for number in range(leads)]
    rows[3:3] = ['"x";"";""', '"x";"nobody";""', '"x";"unknown@shop.example";""', f'"x";"{DELETED}";""']
    rows.append(f'"again";"{address(0)}";""')
    path.write_text("\ufeff" + "\r\n".join(['"First Name";"Email";"Tags"', *rows]) + "\r\n", encoding="utf-8")
    return path


Move = Callable[..., Any]


@pytest.fixture
def move(cartwheel: Cartwheel, there: Api, here: Server, file: Path, monkeypatch: pytest.MonkeyPatch) -> Move:
    """Runs the command, in this process, from the one account into the other."""
    del here
    give_credentials(there, monkeypatch)

    def run(*arguments: object) -> Any:
        return cartwheel("move", "from-kartra", file, "--url", there.server.url, "--rate", 1000, *arguments)

    return run


def give_credentials(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in api.credentials.items():
        monkeypatch.setenv(f"KARTRA_{name.upper()}", value)


def leads_of(server: Server) -> dict[str, int]:
    with server.database.read() as connection:
        return {row.email: row.id for row in connection.execute(sa.select(schema.leads.c.email, schema.leads.c.id))}


def compare(there: Api, here: Api, leads: int, **other: Any) -> None:
    """Lead by lead; `other` is what is to be different."""
    for number in range(leads):
        told = details(here, address(number))
        assert {"tag_name": "Moved from Kartra"} in told["tags"]
        told["tags"].remove({"tag_name": "Moved from Kartra"})
        assert told == details(there, address(number)) | {"sequences": []} | other, number


# -- the whole --


def test_a_move_over_a_bad_line_that_is_killed_again_and_again_misses_nothing(
    engine: str,
    databases: Databases,
    here: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cartwheel: Cartwheel,
) -> None:
    server = Server(databases.migrated(engine))
    from_ = origin(server, LEADS)
    to = new_api(here, file=NEW)
    line = BadLine(server.url, lambda number, _: FAULTS[number // 25 % len(FAULTS)] if number % 25 == 7 else "")
    give_credentials(from_, monkeypatch)
    path = export(tmp_path / "contacts.csv", LEADS)
    arguments = [path, "--url", line.url, "--rate", "1000", "--timeout", "0.5", "--json"]
    for how in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        before = len(leads_of(here))
        process = _start(arguments)
        wait_until(lambda: len(leads_of(here)) >= before + max(20, LEADS // 10), "some leads more")  # noqa: B023
        process.send_signal(how)
        said = process.communicate()[1]
        if how is signal.SIGINT:
            assert process.returncode == 1
            assert said.splitlines()[-1].startswith("cartwheel: broken off after ")
            assert said.endswith(" rows: the same command goes on from there\n")
    assert len(leads_of(here)) < LEADS
    ran = cartwheel("move", "from-kartra", *arguments)
    assert ran.code == 0, ran.err
    assert "Going on with move 1, after" in ran.err
    told = ran.json
    assert (told["number"], told["state"], told["rows"], told["made"]) == (1, "finished", LEADS + 5, LEADS)
    assert (told["changed"], told["same"], told["refused"], told["repeated"]) == (0, 0, 4, 1)
    assert sum(line.faults.values()) >= LEADS // 25
    assert len(leads_of(here)) == LEADS
    compare(from_, to, LEADS)
    assert doctor.examine(here.database, here.clock()).healthy
    line.close()
    server.stop()


def _start(arguments: list[Any]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "cartwheel", "move", "from-kartra", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# -- what it tells, and what it leaves alone --


def test_what_could_not_be_moved_is_told_and_why(
    move: Move, here: Server, tmp_path: Path, cartwheel: Cartwheel
) -> None:
    new_api(here, file=NEW)
    out = tmp_path / "refused.csv"
    told = move("--refused", out, "--json").json
    assert (told["made"], told["refused"], told["repeated"]) == (FEW, 4, 1)
    assert {each["reason"] for each in told["refusals"]} == {
        "it has no e-mail address",
        "nobody is no e-mail address",
        "Kartra has no lead with this address",
        "the lead is deleted at Kartra",
    }
    assert "unknown@shop.example" in out.read_text()
    assert told["new"]["lists"] == ["Newsletter", "Product news", "Käse, Wein"]
    assert told["new"]["sequences"] == ["Welcome"]
    assert told["sequences"] == {"Welcome": {"A2": {"active": 3}, "2": {"unsubscribed": 3}}}
    assert told["not_moved"][0]["what"].startswith("blocked")
    assert told["not_moved"][0]["leads"] == len(range(0, FEW, 17))
    assert told["not_moved"][0]["first_lines"] == [2, 23]
    assert "(line 2, 23)" in cartwheel("move", "report", told["number"]).out
    shown = cartwheel("move", "report", told["number"])
    assert "Welcome, step A2: 3 active" in shown.out
    assert "new sequences (drafts without steps): Welcome" in shown.out
    assert cartwheel("imports", "undo", told["number"], "--json").json["undone"] == FEW
    assert leads_of(here) == {}


def test_a_dry_run_counts_and_changes_nothing(move: Move, here: Server) -> None:
    api = new_api(here, file=NEW)
    api.create(address(5))
    told = move("--dry-run", "--json").json
    assert (told["rows"], told["addresses"], told["known"]) == (FEW + 5, FEW + 2, 1)
    assert (told["repeated"], told["refused"]) == (1, 2)
    assert told["made"]["fields"] == ["plan", "interests", "shoe_size", "story", "seat"]
    assert api.call({"cmd": "retrieve_account_lists"})["account_lists"] == []
    assert len(leads_of(here)) == 1
    assert "Nothing was moved: this was a dry run." in move("--dry-run").out


def test_a_lead_that_is_here_is_filled_up_and_nothing_is_replaced(move: Move, here: Server) -> None:
    api = new_api(here, file=NEW)
    api.create(address(1), first_name="Grace")
    api.call({"cmd": "give_points_to_lead", "points": "7"}, lead={"email": address(1)})
    told = move("--json").json
    assert (told["made"], told["changed"]) == (FEW - 1, 1)
    lead = api.lead(address(1))
    assert (lead["first_name"], lead["city"], lead["score"]) == ("Grace", "City 1", 7)
    api.call({"cmd": "edit_lead"}, lead={"email": address(2), "city": "Łódź"})
    again = move("--json").json
    assert (again["number"], again["made"], again["changed"], again["same"]) == (2, 0, 0, FEW)
    assert api.lead(address(2))["city"] == "Łódź"


STEP = (
    '[[sequences]]\nname = "{}"\n[[sequences.steps]]\nbox = "{}"\ntype = "email"\nsubject = "Hi"\nhtml = "<p>Hi</p>"\n'
)


@pytest.mark.parametrize(("box", "started"), [("A2", 3), ("7", 0)])
def test_people_in_a_sequence_go_on_where_they_stand_only_if_asked(
    move: Move, here: Server, box: str, started: int
) -> None:
    api = new_api(here, file=NEW + STEP.format("welcome", box))
    assert "started" not in move("--json", "--batch-tag", "").json["not_moved"]
    assert api.rows(schema.enrolments) == []
    told = move("--start-sequences", "--json").json
    assert sum(told["started"].values()) == started
    lost = [each["leads"] for each in told["not_moved"] if "is in the sequence Welcome at step A2" in each["what"]]
    assert lost == ([] if started else [3])
    rows = api.rows(schema.enrolments)
    assert [row["step"] for row in rows] == ["A2"] * started
    ids = leads_of(here)
    assert {row["lead_id"] for row in rows} <= {ids[address(number)] for number in range(1, FEW, 10)}


OTHERS = """
[[lists]]
name = "NEWSLETTER"
[[custom_fields]]
identifier = "shoe_size"
type = "drop_down"
options = [{ id = 612, name = "1" }, { id = 2, name = "2" }]
[[custom_fields]]
identifier = "seat"
type = "input_field"
"""


def test_what_is_another_thing_here_is_told(move: Move, here: Server) -> None:
    api = new_api(here, file=NEW + OTHERS)
    told = move("--json").json
    assert 'the list "Newsletter" is called "NEWSLETTER" here; both names find it' in told["differences"]
    assert "the custom field shoe_size is a drop_down here, and a input_field at Kartra" in told["differences"]
    assert any("plan has other ids here than Kartra for its options Gold (612)" in each for each in told["differences"])
    lost = {each["what"]: each["leads"] for each in told["not_moved"]}
    assert lost["a value of the custom field shoe_size, which does not fit here"] == FEW - 3
    seats = {field["field_identifier"]: field["field_value"] for field in api.lead(address(0))["custom_fields"]}
    assert seats["seat"] == "Window; left"
    assert [option["option_value"] for option in seats["plan"]] == ["Gold"]


# -- what goes wrong --


def test_a_move_that_was_begun_is_no_import_that_others_go_on_with(
    move: Move, here: Server, file: Path, cartwheel: Cartwheel
) -> None:
    api = new_api(here, file=NEW)
    with here.database.read() as connection:
        account = catalog.of(connection, api.account_id).accounts[api.account_id]
    plan = MovePlan("http://127.0.0.1:1", "digest", "UTC", batch_tag="Moved from Kartra")
    with file.open("rb") as opened:
        begun = running.begin(here.database, account, plan, file.name, opened, here.clock())
    assert running.unfinished(here.database, account, plan) == begun
    with here.database.write() as connection:
        importstore.change(connection, api.account_id, begun.id, next_at=1)
    assert importstore.take(here.database, here.clock()) is None
    assert "the command that began it goes on with it" in cartwheel("imports", "resume", begun.id).trouble
    assert move("--json").json["number"] == 2, "another address is another move"
    assert cartwheel("imports", "undo", begun.id, "--json").json == {
        "number": 1,
        "state": "undone",
        "undone": 0,
        "kept": 0,
    }
    assert len(leads_of(here)) == FEW


def test_wrong_credentials_are_told_and_nothing_is_kept(
    move: Move, here: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new_api(here, file=NEW)
    monkeypatch.setenv("KARTRA_API_PASSWORD", "wrong")
    ran = move()
    assert ran.code == 1
    assert "Password" in ran.trouble or "password" in ran.trouble
    assert "there is no time zone Moon" in move("--zone", "Moon").trouble
    monkeypatch.delenv("KARTRA_API_PASSWORD")
    assert "KARTRA_API_PASSWORD: set in the environment, or give --credentials FILE" in move().trouble
    bad = tmp_path / "secrets.toml"
    bad.write_text('app_id = "x"\n')
    assert f"--credentials: {bad} has no api_key, api_password" in move("--credentials", bad).trouble
    with here.database.read() as connection:
        assert connection.execute(sa.select(schema.metadata.tables["imports"])).all() == []


def test_credentials_may_come_from_a_file(
    move: Move, here: Server, there: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new_api(here, file=NEW)
    for name in there.credentials:
        monkeypatch.delenv(f"KARTRA_{name.upper()}")
    good = tmp_path / "secrets.toml"
    good.write_text("".join(f'{name} = "{value}"\n' for name, value in there.credentials.items()))
    assert move("--credentials", good, "--json").json["made"] == FEW


def test_one_lead_is_given_up_only_if_others_are_answered(there: Api) -> None:
    def asking(fault: Callable[[int, bytes], str]) -> tuple[KartraClient, BadLine, list[float]]:
        line, pauses = BadLine(there.server.url, fault), list[float]()
        known: dict[str, Any] = {**there.credentials, "tries": fetching.TRIES, "sleep": pauses.append}
        client = KartraClient(line.url, **known)
        return client, line, pauses

    for fault in ("hung up", "cut off", "garbage", "500"):
        client, line, pauses = asking(lambda _, body: fault if b"lead3%40" in body else "")  # noqa: B023
        assert fetching.ask(client, address(4))["city"] == "City 4"
        with pytest.raises(Refused, match="no answer came from Kartra, 8 times"):
            fetching.ask(client, address(3))
        assert pauses == [0.25, 0.5, 1, 2, 4, 8, 16]
        line.close()
        client.close()
    client, line, pauses = asking(lambda number, _: "hung up" if number > 1 else "")
    assert fetching.ask(client, address(4))
    with pytest.raises(fetching.Stopped, match="Kartra does not answer"):
        fetching.ask(client, address(5))
    line.close()
    client.close()
