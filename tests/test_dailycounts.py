"""What is counted by the day is what happened."""

import importlib
from collections import Counter
from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from office import Office

from cartwheel.data import dailycounts, schema
from cartwheel.data.dailycounts import CALLS, CALLS_FAILED, LEADS, LEADS_GONE
from cartwheel.data.migrations import __name__ as migrations
from harness import Api, Server, new_api

ALL = (*sorted(dailycounts.EVENTS), LEADS_GONE)


def today(api: Api) -> dict[str, int]:
    return on(api, api.server.clock().date())


def on(api: Api, day: date) -> dict[str, int]:
    with api.server.database.read() as connection:
        found = dailycounts.by_day(connection, api.account_id, day, day, (*ALL, CALLS, CALLS_FAILED))
    return {what: days[day] for what, days in found.items() if days[day]}


def test_leads_that_come_go_and_come_back_are_counted_once(api: Api) -> None:
    for name in ("ada", "grace", "edsger"):
        api.create(f"{name}@shop.example")
    api.on("ada@shop.example", "create_lead")
    api.delete("grace@shop.example")
    api.delete("grace@shop.example")
    api.delete("edsger@shop.example")
    api.on("edsger@shop.example", "create_lead")
    counts = today(api)
    assert (counts[LEADS], counts[LEADS_GONE]) == (3, len([row for row in api.rows_of_leads() if row["deleted_at"]]))


def test_a_day_is_one_of_the_accounts_calendar(server: Server) -> None:
    server.clock.now = server.clock.now.replace(hour=23, minute=30)
    here, ahead = new_api(server), new_api(server, account={"timezone": "Asia/Kolkata"})
    for api in (here, ahead):
        api.create("ada@shop.example")
    day = server.clock().date()
    assert on(ahead, day + timedelta(days=1)) == {LEADS: 1}
    assert on(ahead, day) == {}


def test_what_the_migration_counts_is_what_would_have_been_counted(api: Api) -> None:
    for number in range(3):
        api.create(f"lead{number}@shop.example")
        api.on(f"lead{number}@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    api.delete("lead2@shop.example")
    office = Office(api.server)
    try:
        office.settle()
    finally:
        office.close()
    before = today(api)
    assert before["mail_sent"] > 0
    module = importlib.import_module(f"{migrations}.0014_ledger_and_daily_counts")
    with api.server.database.write() as connection:
        counted = Counter(
            {key[2]: number for key, number in module.so_far(connection).items() if key[0] == api.account_id}
        )
    assert dict(counted) == {what: number for what, number in before.items() if what not in {CALLS, CALLS_FAILED}}


@pytest.mark.parametrize("slot", [0, 3])
def test_counts_add_up_over_slots(api: Api, slot: int) -> None:
    day = api.server.clock().date()
    with api.server.database.write() as connection:
        for where in (0, slot):
            dailycounts.add(connection, {(api.account_id, day.toordinal(), CALLS): 2}, where)
    assert on(api, day)[CALLS] == 4
    assert len(api.rows(schema.daily_counts)) == len({0, slot})


def test_another_account_has_counts_of_its_own(api: Api, stranger: Api) -> None:
    api.create("ada@shop.example")
    assert today(stranger) == {}
    with api.server.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.leads)).scalar_one() > 0


def test_calls_are_counted_by_account_and_whether_they_failed(api: Api, stranger: Api) -> None:
    server = api.server
    server.run(server.application.counts.round)
    api.create("ada@shop.example")
    api.on("nobody@shop.example", "assign_tag", tag_name="Customer")
    api.call({"cmd": "no_such_command"}, lead={"email": "ada@shop.example"})
    server.run(server.application.counts.round)
    counts = today(api)
    assert (counts[CALLS], counts[CALLS_FAILED]) == (3, 2)
    assert CALLS not in today(stranger)
