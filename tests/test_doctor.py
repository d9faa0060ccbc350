"""`cartwheel doctor`: it finds what is wrong, and nothing where all is well."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from office import Office

from cartwheel import times
from cartwheel.data import doctor, schema
from cartwheel.data.db import Database
from commandline import Cartwheel
from harness import Api, Server, new_api

EMAILS = ("ada@shop.example", "grace@shop.example")


ODD_RUNS = [("active", "FALSE"), ("parked", "FALSE"), ("active", "TRUE")]
"""Statuses, and whether a pause holds them; none has a reason."""


@pytest.fixture
def patient(url: str) -> Iterator[Api]:
    """A database with a bit of everything."""
    server = Server(url)
    api = new_api(server, account={"mail": {"sender": "hello@shop.example"}})
    for email in EMAILS:
        api.create(email, custom_fields=[{"field_identifier": "plan", "field_value": "612"}])
        api.on(email, "assign_tag", tag_name="Customer")
        api.on(email, "subscribe_lead_to_list", list_name="Newsletter")
        api.on(email, "give_points_to_lead", points=10, expiration=30)
        api.on(email, "remove_points_from_lead", points=3)
        api.on(email, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    office = Office(server)
    office.settle()
    server.clock.forward(days=31)
    office.settle()
    office.close()
    assert [api.lead(email)["score"] for email in EMAILS] == [-3, -3]
    server.stop()
    yield api
    server.database.close()


@pytest.mark.usefixtures("patient")
def test_the_doctor_finds_nothing_where_all_is_well(cartwheel: Cartwheel) -> None:
    ran = cartwheel("doctor")
    assert ran.code == 0
    assert "All is well. 1 account, 2 leads, 18 events, 4 ledger rows, 4 mails." in ran.out
    assert "4 due = 0 queued + 0 handed over + 4 accepted + 0 failed + 0 suppressed + 0 in doubt" in ran.out
    found = cartwheel("doctor", "--json").json
    assert found["healthy"] is True
    assert found["mails"]["accepted"] == found["counts"]["mails"] == found["mails_due"] == 4
    assert len(found["checks"]) == len(list(doctor.checks(times.now())))


def test_every_broken_promise_is_found(cartwheel: Cartwheel, patient: Api) -> None:
    here = f"account_id = {patient.account_id}"
    with patient.server.database.write() as connection:
        for sql in (
            f"UPDATE points SET reversed_at = NULL WHERE {here} AND reversed_at IS NOT NULL",
            f"UPDATE points SET reversed_at = given_at WHERE {here} AND points < 0",
            f"DELETE FROM events WHERE {here} AND kind = 'lead_created'",
            f"UPDATE leads SET email = 'Ada@shop.example' WHERE {here} AND email = 'grace@shop.example'",
            "UPDATE counters SET next = 1 WHERE name = 'leads'",
            *(
                f"INSERT INTO enrolments SELECT account_id, lead_id, id + {number}, sequence_id, step, '{status}', 0, NULL, "
                f"0 = 1, version, NULL, NULL, 0, '', '[]', -1, {held}, FALSE, 0 FROM enrolments WHERE latest"
                for number, (status, held) in enumerate(ODD_RUNS, 1)
            ),
            f"DELETE FROM events WHERE {here} AND kind = 'mail_sent'",
            f"UPDATE mails SET state = 'handed over', next_at = 1 WHERE {here} AND box = '1'",
            f"UPDATE mails SET next_at = 1 WHERE {here} AND box = '2'",
            f"UPDATE mails SET run = 7 WHERE {here} AND address = 'grace@shop.example'",
            f"INSERT INTO suppressions VALUES ({patient.account_id}, 'ada@shop.example', 'complaint', 0, '', 0, 1)",
            f"INSERT INTO events SELECT account_id, id, 1, 'lead_erased', '', '', 0 FROM leads WHERE {here}",
            (
                f"INSERT INTO hook_endpoints VALUES ({patient.account_id}, 1, 'x', 'x', 'http://x/', TRUE, '{{}}', 0, FALSE, "
                "'[]', '', 0, NULL, NULL, '', NULL)"
            ),
            (
                f"INSERT INTO hook_deliveries VALUES ({patient.account_id}, 1, 1, 1, 'assign_tag', '{{}}', 'queued', 0, 1, 0, "
                "NULL, NULL, NULL, '', '')"
            ),
        ):
            connection.execute(sa.text(sql))
        for table in schema.metadata.tables.values():
            connection.execute(sa.insert(table).values({column.name: _odd(column) for column in table.columns}))
    ran = cartwheel("doctor", "--json")
    assert ran.code == 1
    results = {check["name"]: check for check in ran.json["checks"]}
    assert [name for name, result in results.items() if not result["found"]] == []
    assert results["score"]["found"] == 3
    assert results["first event"]["found"] == 3
    assert results["mails due"]["found"] == 2
    assert results["mail time"]["found"] == 2
    assert results["mail on its way"]["found"] == 2
    assert results["mail run"]["found"] == 3
    assert results["mail event"]["found"] == 3
    assert results["suppressed mail"]["found"] == 2
    assert {"account_id": patient.account_id, "email": "ada@shop.example", "leads": 2} in results["address"]["examples"]
    shown = cartwheel("doctor").out
    assert "Something is wrong." in shown
    assert "3 FOUND  Every lead has exactly one event of its creation." in shown


def _odd(column: sa.Column[Any]) -> object:
    """Values of a row in an account that does not exist, which refers to what another account has."""
    if column.name == "id":
        return 123_456_789
    if column.name in {"lead_id", "tag_id", "list_id", "sequence_id", "field_id"}:
        return 1
    return {int: 987_654_321, bool: False, str: "odd", bytes: b"odd"}[column.type.python_type]


def test_a_mail_that_is_lost_and_one_that_is_too_many_are_missed(cartwheel: Cartwheel, patient: Api) -> None:
    mails = schema.mails
    ada, grace = patient.rows(mails)[0]["lead_id"], patient.rows(mails)[-1]["lead_id"]
    [kept] = patient.rows(mails, lead_id=grace, box="1")
    with patient.server.database.write() as connection:
        connection.execute(sa.delete(mails).where(mails.c.lead_id == ada, mails.c.box == "1"))
    ran = cartwheel("doctor")
    assert ran.code == 1
    assert "4 due ≠ 0 queued + 0 handed over + 3 accepted + 0 failed + 0 suppressed + 0 in doubt" in ran.out
    assert "1 FOUND  Every mail that a run has counted is in the ledger, and no other." in ran.out
    assert "mails_due 2, kept 1" in ran.out
    with patient.server.database.write() as connection:
        connection.execute(sa.insert(mails).values(kept | {"id": kept["id"] + 1000, "move": 1000}))
    found = cartwheel("doctor", "--json").json  # one lost and one too many hide from a sum
    assert found["mails_due"] == found["counts"]["mails"] == 4
    [check] = [check for check in found["checks"] if check["name"] == "mails due"]
    assert [(row["lead_id"], row["mails_due"], row["kept"]) for row in check["examples"]] == [
        (ada, 2, 1),
        (grace, 2, 3),
    ]


def test_an_older_databases_mails_are_counted_when_it_is_migrated(patient: Api) -> None:
    database = patient.server.database
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE enrolments DROP COLUMN mails_due"))
        connection.execute(sa.text("DELETE FROM migrations WHERE name = '0011_mails_due'"))
    assert database.migrate() == ["0011_mails_due"]
    report = doctor.examine(database, patient.server.clock())
    assert (report.mails_due, report.healthy) == (4, True)


def test_a_pause_that_is_just_over_and_a_mail_just_handed_over_are_no_findings(patient: Api) -> None:
    database, at = patient.server.database, patient.server.clock()
    moment = times.to_micros(at)
    with database.write() as connection:
        for sql in (
            "UPDATE enrolments SET status = 'active', due_at = NULL, reason = '', held = TRUE",
            f"UPDATE sequences SET resumed_at = {moment}",
            f"UPDATE mails SET state = 'handed over', next_at = {moment}",
        ):
            connection.execute(sa.text(sql))
    assert _found(database, at) == []
    assert _found(database, at + timedelta(hours=2)) == ["held run", "mail on its way"]
    with database.write() as connection:
        connection.execute(sa.text("UPDATE sequences SET paused = 1 = 1"))
    assert _found(database, at + timedelta(hours=2)) == ["mail on its way"]


def _found(database: Database, now: Any) -> list[str]:
    return [result.name for result in doctor.examine(database, now).results if result.found]


def test_the_doctor_tells_a_newer_cartwheels_migration(cartwheel: Cartwheel, url: str) -> None:
    cartwheel("migrate")
    database = Database(url)
    with database.write() as connection:
        connection.execute(sa.text("INSERT INTO migrations VALUES ('9999_future')"))
    database.close()
    ran = cartwheel("doctor")
    assert ran.code == 1
    assert "9999_future is a newer Cartwheel's" in ran.out
