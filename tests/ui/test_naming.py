"""Lists, tags and custom fields: made, renamed, deleted and taken back."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from cast import Cast, Person

from cartwheel.accountfiles import accountfile
from cartwheel.accountfiles.fileparts import AccountFile, AccountPart, TagPart
from cartwheel.data import bygones, membercounts, schema
from cartwheel.people import Role
from cartwheel.work.housekeeping import Housekeeping
from harness import Api

LISTS, TAGS, FIELDS = "/communication/lists", "/communication/tags", "/communication/custom-fields"

TABLES = {LISTS: schema.lists, TAGS: schema.tags, FIELDS: schema.custom_fields}
USED = {LISTS: "Newsletter", TAGS: "Customer", FIELDS: "plan"}
"""What a lead of these tests has."""

ADA = "ada@shop.example"

Make = Callable[[str, str], str]

kinds = pytest.mark.parametrize("path", TABLES)


@pytest.fixture
def make(api: Api, boss: Person) -> Make:
    """Makes one through its form, and returns its address."""

    def make(path: str, name: str) -> str:
        answer = boss.post(path, name=name, **({"type": "drop_down", "options": "S\nM\nL"} if path == FIELDS else {}))
        assert answer.headers.get("location") == path, answer.text
        return address(api, path, name)

    return make


def address(api: Api, path: str, name: str) -> str:
    """Of the newest one of this name, deleted or not."""
    column = "identifier" if path == FIELDS else "name"
    return f"{path}/{max(row['id'] for row in api.rows(TABLES[path]) if row[column] == name)}"


def account_name(api: Api) -> str:
    with api.server.database.read() as connection:
        query = sa.select(schema.accounts.c.name).where(schema.accounts.c.id == api.account_id)
        return str(connection.execute(query).scalar_one())


def give(api: Api, email: str = ADA) -> None:
    """A lead with one of each."""
    api.create(email, custom_fields=[{"field_identifier": "plan", "field_value": "612"}])
    api.on(email, "subscribe_lead_to_list", list_name="Newsletter")
    api.on(email, "assign_tag", tag_name="Customer")


def has(api: Api, path: str, email: str = ADA) -> bool:
    """Whether `get_lead` tells of it."""
    details: Any = api.lead(email)
    if path == LISTS:
        return any(entry["list_name"] == USED[path] for entry in details["lists"])
    if path == TAGS:
        return any(entry["tag_name"] == USED[path] for entry in details["tags"])
    return any(entry["field_identifier"] == USED[path] for entry in details["custom_fields"])


def tidy(api: Api) -> None:
    server = api.server
    keeper = Housekeeping(server.database, server.application.batches, clock=server.clock)
    while server.run(keeper.tidy):
        pass


# -- made and changed --


@kinds
def test_what_is_made_here_the_api_finds_at_once(api: Api, make: Make, path: str) -> None:
    make(path, "fresh")
    told = {
        LISTS: lambda: api.call({"cmd": "retrieve_account_lists"}),
        TAGS: lambda: api.call({"cmd": "retrieve_account_tags"}),
        FIELDS: lambda: api.call({"cmd": "retrieve_custom_fields"}),
    }[path]()
    assert "fresh" in str(told)


@kinds
def test_a_name_is_taken_in_whatever_case(boss: Person, make: Make, path: str) -> None:
    make(path, "fresh")
    answer = boss.post(path, name=" FRESH ", type="input_field")
    assert answer.status_code == 422
    assert "of this name" in answer.text


@kinds
def test_renaming_keeps_the_leads(api: Api, boss: Person, path: str) -> None:
    name = {LISTS: "Product news", TAGS: "Trial user", FIELDS: "shoe_size"}[path]
    where = address(api, path, name)
    assert boss.post(where, name="renamed").status_code == 303
    assert address(api, path, "renamed") == where
    assert "renamed" in boss.get(path).text


def test_options_are_added_renamed_and_put_in_order(api: Api, boss: Person) -> None:
    where = address(api, FIELDS, "plan")
    plan = {"name": "plan", "option_612": "Golden", "option_613": "Silver"}
    assert boss.post(where, **plan, new_option="Bronze", move="down 612").headers["location"] == where
    rows = [row for row in api.rows(schema.custom_field_options) if f"{FIELDS}/{row['field_id']}" == where]
    ordered = [row["name"] for row in sorted(rows, key=lambda row: row["position"])]
    assert ordered == ["Silver", "Golden", "Bronze"]
    assert boss.post(where, **(plan | {"option_613": " golden "})).status_code == 422


def test_a_field_needs_what_its_type_needs(boss: Person) -> None:
    for sent in (
        {"name": "x y", "type": "input_field"},
        {"name": "email", "type": "input_field"},
        {"name": "size", "type": "nothing"},
        {"name": "size", "type": "drop_down", "options": "one"},
        {"name": "size", "type": "drop_down", "options": "one\nOne"},
    ):
        assert boss.post(FIELDS, **sent).status_code == 422, sent


def test_search_finds_a_part_of_the_name(boss: Person, make: Make) -> None:
    make(TAGS, "Bought: red shoes")
    make(TAGS, "Bought: blue hats")
    text = boss.get(f"{TAGS}?q=RED+bought", **{"hx-request": "true"}).text
    assert "red shoes" in text
    assert "blue hats" not in text
    assert "<html" not in text


# -- deleted --


@kinds
def test_what_is_deleted_no_lead_has_and_undo_brings_it_back(api: Api, boss: Person, path: str) -> None:
    give(api)
    where = address(api, path, USED[path])
    assert has(api, path)
    assert boss.post(f"{where}/delete").headers["location"] == path
    assert f'action="{where}/restore"' in boss.get(path).text
    assert not has(api, path)
    assert boss.get(where).status_code == 404
    assert boss.post(f"{where}/restore").headers["location"] == path
    assert has(api, path)


@kinds
def test_the_name_of_what_is_deleted_is_free_at_once(api: Api, boss: Person, make: Make, path: str) -> None:
    give(api)
    where = address(api, path, USED[path])
    boss.post(f"{where}/delete")
    assert make(path, USED[path]) != where
    text = boss.get(path).text if boss.post(f"{where}/restore") else ""
    assert "cannot come back" in text


def test_applying_a_file_makes_a_new_one(api: Api, boss: Person) -> None:
    where = address(api, TAGS, "Customer")
    boss.post(f"{where}/delete")
    file = AccountFile(AccountPart(account_name(api)), tags=[TagPart("Customer")])
    accountfile.apply(api.server.database, file, api.server.clock())
    assert address(api, TAGS, "Customer") != where


def test_a_field_that_the_api_makes_shares_no_number_with_a_deleted_one(api: Api, boss: Person) -> None:
    newest = max(api.rows(schema.custom_fields), key=lambda row: row["id"])
    boss.post(f"{FIELDS}/{newest['id']}/delete")
    sent = {"custom_field_type": "input_field", "custom_field_identifier": newest["identifier"]}
    assert api.call({"cmd": "create_custom_field", **sent})["status"] == "Success"
    assert address(api, FIELDS, newest["identifier"]) == f"{FIELDS}/{newest['id'] + 1}"


@kinds
def test_what_a_step_needs_is_neither_deleted_nor_renamed(api: Api, boss: Person, make: Make, path: str) -> None:
    where = make(path, "needed")
    step = {
        LISTS: {"type": "subscribe_list", "box": "77", "list": "needed"},
        TAGS: {"type": "assign_tag", "box": "77", "tag": "needed"},
        FIELDS: {"type": "email", "box": "77", "subject": "Size {needed}", "html": "<p>Hello</p>"},
    }[path]
    text = {"account": {"name": account_name(api)}, "sequences": [{"name": "Needs it", "steps": [step]}]}
    accountfile.apply(api.server.database, msgspec.convert(text, AccountFile), api.server.clock())
    refused = boss.post(f"{where}/delete")
    assert refused.status_code == 422
    assert "Needs it" in refused.text
    assert "step 77" in refused.text
    assert boss.post(where, name="other", option_1="").status_code == 422
    assert boss.get(where).status_code == 200


@kinds
def test_after_thirty_days_the_leads_forget_it_and_nothing_else(cast: Cast, api: Api, boss: Person, path: str) -> None:
    for n in range(3):
        give(api, f"lead{n}@shop.example")
    api.on("lead0@shop.example", "assign_tag", tag_name="Trial user")
    boss.post(f"{address(api, path, USED[path])}/delete")
    tables = (schema.lead_lists, schema.lead_tags, schema.lead_fields)
    before = {table.name: len(api.rows(table)) for table in tables}
    tidy(api)
    assert {table.name: len(api.rows(table)) for table in tables} == before
    api.server.clock.now += bygones.KEPT + timedelta(minutes=1)
    tidy(api)
    wiped = {LISTS: "lead_lists", TAGS: "lead_tags", FIELDS: "lead_fields"}[path]
    assert {table.name: len(api.rows(table)) for table in tables} == before | {wiped: before[wiped] - 3}
    later = cast.person(Role.OWNER)
    assert later.post(f"{address(api, path, USED[path])}/restore").status_code == 404


def test_old_events_still_know_the_names(api: Api, boss: Person) -> None:
    give(api)
    boss.post(f"{address(api, TAGS, 'Customer')}/delete")
    api.lead(ADA)
    account = api.server.application.batches.catalog.accounts[api.account_id]
    assert "Customer" in account.names.tags.values()
    assert "Customer" not in account.tag_names.values()


# -- counted --


def test_leads_are_counted_without_those_that_left_or_were_deleted(api: Api, boss: Person) -> None:
    for n in range(3):
        give(api, f"lead{n}@shop.example")
    api.on("lead1@shop.example", "unsubscribe_lead_from_list", list_name="Newsletter")
    api.delete("lead2@shop.example")
    assert '<td class="text-end numbers">1</td>' in boss.get(f"{LISTS}?q=newsletter").text
    assert '<td class="text-end numbers">2</td>' in boss.get(f"{TAGS}?q=customer").text


def test_a_large_account_is_counted_in_the_background(api: Api, boss: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membercounts, "FEW", 1)
    for n in range(3):
        give(api, f"lead{n}@shop.example")
    assert "being counted" in boss.get(TAGS).text
    tidy(api)
    text = boss.get(f"{TAGS}?q=customer").text
    assert '<td class="text-end numbers">3</td>' in text
    assert "about right" in text


# -- who --


@kinds
def test_another_accounts_are_not_there(stranger: Api, cast: Cast, make: Make, path: str) -> None:
    for name in "abcdef":
        where = make(path, name)
    somebody = cast.person(Role.OWNER, stranger)
    assert somebody.get(where).status_code == 404
    assert somebody.post(where, name="mine").status_code == 404
    assert somebody.post(f"{where}/delete").status_code == 404
    assert somebody.post(f"{where}/restore").status_code == 404


def test_who_may_only_look_is_offered_no_change(cast: Cast, api: Api) -> None:
    viewer = cast.person(Role.VIEWER)
    for path in TABLES:
        text = viewer.get(path).text + viewer.get(address(api, path, USED[path])).text
        assert "/delete" not in text
        assert 'class="btn btn-primary"' not in text
