"""Automations in account files, on the command line, in the simulator and in the answer to why."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cartwheel.accountfiles import accountexport, accountfile, sequencefile
from cartwheel.data import catalog, schema
from cartwheel.data.db import Database
from cartwheel.errors import BadAccountFile
from cartwheel.times import now
from commandline import Cartwheel
from harness import Api

FILE = """
[account]
name = "Shop"
api_key = "a-key-of-the-shop"
api_password = "a-password-of-the-shop"
[[apps]]
name = "Website"
[[lists]]
name = "News"
[[tags]]
name = "Customer"
[[tags]]
name = "Trial"
[[custom_fields]]
identifier = "plan"
type = "input_field"
[[sequences]]
name = "Welcome"
[[sequences.steps]]
box = "1"
type = "assign_tag"
tag = "Trial"
[[sequences.steps]]
box = "2"
type = "complete"
[[sequences]]
name = "Thanks"
[[sequences.steps]]
box = "1"
type = "wait_until"
condition = { type = "has_tag", tag = "Customer" }

[[automations]]
name = "Who tries it is asked"
when = { type = "assign_tag", tag = "Trial" }
condition = { type = "all", conditions = [{ type = "field", field = "plan" }, { type = "score", at_most = 9 }] }
then = [{ type = "start_sequence", sequence = "Thanks", step = "1" }, { type = "points", points = 5, days = 30 }]
[[automations]]
name = "Who is here is told of"
active = false
when = { type = "lead_created" }
then = [{ type = "subscribe_list", list = "News" }, { type = "notify", to = "boss@shop.example", text = "Hello" }]
"""


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with closing(Database(url)) as made:
        made.migrate()
        yield made


def applied(database: Database, text: str = FILE) -> dict[str, object]:
    return accountfile.apply(database, accountfile.read_text(text, Path()), now())


def exported(database: Database) -> str:
    with database.read() as connection:
        known = catalog.only(connection, "Shop")
        [account] = known.accounts.values()
        return accountexport.write(account, known.apps_of(account.id), sequencefile.parts(connection, account))


def test_what_is_exported_and_applied_changes_nothing(database: Database) -> None:
    made = applied(database)
    assert made["warnings"] == [
        "automation Who is here is told of: boss@shop.example is nobody of this account, and is not notified"
    ] + [w for w in made["warnings"] if "boss" not in w]  # type: ignore[attr-defined] # it is a list
    text = exported(database)
    assert text.count("[[automations]]") == 2
    assert applied(database, text)["changed"] is False
    assert exported(database) == text
    database.close()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('tag = "Trial" }', 'tag = "Gone" }', "automation Who tries it is asked: .*Gone"),
        ('list = "News" }', 'list = "Gone" }', "automation Who is here is told of"),
        ('step = "1" }', 'step = "9" }', "automation Who tries it is asked"),
        ('field = "plan" }', 'field = "gone" }', "there is no field gone"),
        ('"lead_created"', '"lead_made"', "automation Who is here is told of"),
        ('type = "notify"', 'type = "shout"', "the types are assign_tag,"),
        ("Who is here is told of", "who TRIES it is asked", "is there twice"),
    ],
)
def test_a_file_is_told_what_is_wrong_with_its_automations(database: Database, old: str, new: str, told: str) -> None:
    with pytest.raises(BadAccountFile, match=told):
        applied(database, FILE.replace(old, new))
    with database.read() as connection:
        assert catalog.only(connection, "Shop").accounts == {}
    database.close()


def test_a_circle_is_warned_of(database: Database) -> None:
    circle = """
[[automations]]
name = "There"
when = { type = "assign_tag", tag = "Customer" }
then = [{ type = "unassign_tag", tag = "Customer" }]
[[automations]]
name = "Back"
when = { type = "unassign_tag" }
then = [{ type = "assign_tag", tag = "customer" }]
"""
    [warning] = [each for each in applied(database, FILE + circle)["warnings"] if "circle" in each]  # type: ignore[attr-defined] # it is a list
    assert "There → Back → There" in warning
    database.close()


def test_the_command_line_lists_pauses_and_resumes(url: str, cartwheel: Cartwheel, tmp_path: Path) -> None:
    (tmp_path / "account.toml").write_text(FILE)
    cartwheel("apply", str(tmp_path / "account.toml"))
    [first, second] = json.loads(cartwheel("automation", "list", "--json").out)
    assert (first["active"], second["active"]) == (True, False)
    assert first["does"].startswith(
        "When the lead gets the tag Trial, and plan is filled and the score is at most 9, then"
    )
    assert "is paused" in cartwheel("automation", "pause", "who tries it is asked").out
    assert "already" in cartwheel("automation", "pause", "Who tries it is asked").out
    assert [entry["active"] for entry in json.loads(cartwheel("automation", "list", "--json").out)] == [False, False]
    assert "runs again" in cartwheel("automation", "resume", "Who tries it is asked").out
    assert url


def test_the_simulator_runs_them(cartwheel: Cartwheel, tmp_path: Path) -> None:
    path = tmp_path / "account.toml"
    path.write_text(FILE)
    told = cartwheel("simulate", "Welcome", "--file", str(path), "--fields", "plan=Gold").out
    assert "The automation Who tries it is asked ran" in told
    assert "Started the sequence Thanks at step 1" in told
    assert "Got 5 points for 30 days" in told
    told = cartwheel("simulate", "Welcome", "--file", str(path), "--fields", "first_name=Ada").out
    assert "did not run: it was not so that plan is filled" in told


def test_why_says_what_automations_did_and_what_kept_them(owner: Api, cartwheel: Cartwheel) -> None:
    with owner.server.database.read() as connection:
        name = catalog.of(connection, owner.account_id).accounts[owner.account_id].name
    rules = """
[[tags]]
name = "A"
[[tags]]
name = "B"
[[automations]]
name = "Score"
when = { type = "assign_tag", tag = "A" }
then = [{ type = "points", points = 5 }]
[[automations]]
name = "Cautious"
when = { type = "assign_tag", tag = "A" }
condition = { type = "has_tag", tag = "B" }
then = [{ type = "points", points = 7 }]
"""
    text = f'[account]\nname = "{name}"\n{rules}'
    accountfile.apply(owner.server.database, accountfile.read_text(text, Path()), owner.server.clock())
    owner.create("ada@shop.example")
    owner.on("ada@shop.example", "assign_tag", tag_name="A")
    told = " ".join(cartwheel("why", "ada@shop.example", "--account", name).out.split())
    assert "The automation Score ran, on" in told
    assert "The automation Cautious did not run: it was not so that the lead has the tag B, on" in told
    shown = cartwheel("lead", "show", "ada@shop.example", "--account", name).out
    assert "by the automation Score" in shown
    assert owner.rows(schema.automations)
