"""What `apply` makes of a file: options and their ids, senders, passwords. Round trips are in test_cli and test_caps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import tomli_w
from argon2 import PasswordHasher

from cartwheel import times
from cartwheel.accountfiles import accountexport, accountfile, accountkeys, sequencefile
from cartwheel.api import credentials
from cartwheel.data import catalog, schema
from cartwheel.data.db import Database
from cartwheel.errors import BadAccountFile
from cartwheel.mail.composing import content_of
from cartwheel.sequences.steps import EmailStep
from conftest import Databases
from harness import Api

NAME = "Acme"


@pytest.fixture(scope="module")
def only_database(engine: str, databases: Databases) -> Iterator[Database]:
    opened = Database(databases.migrated(engine))
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def database(only_database: Database) -> Database:
    with only_database.write() as connection:
        for table in reversed(schema.metadata.sorted_tables):
            if "account_id" in table.c or table is schema.accounts:
                connection.execute(sa.delete(table))
    return only_database


def apply(database: Database, file: dict[str, Any]) -> dict[str, Any]:
    read = accountfile.read_text(tomli_w.dumps({"account": {"name": NAME}, **file}), Path())
    return accountfile.apply(database, read, times.now())


def drop_down(identifier: str, *options: str | dict[str, Any]) -> dict[str, Any]:
    named = [option if isinstance(option, dict) else {"name": option} for option in options]
    return {"identifier": identifier, "type": "drop_down", "options": named}


def options(database: Database) -> dict[str, dict[int, str]]:
    with database.read() as connection:
        [account] = catalog.only(connection, NAME).accounts.values()
    return {field.identifier: {option.id: option.name for option in field.options} for field in account.fields.values()}


def number(name: str, given: int) -> dict[str, Any]:
    return {"id": given, "name": name}


# -- options --


def test_an_option_without_an_id_gets_none_that_stands_later_in_the_file(database: Database) -> None:
    fields = {
        "custom_fields": [drop_down("size", "Auto", number("Fixed", 1)), drop_down("mode", "On", number("Off", 3))]
    }
    assert apply(database, fields)["changed"]
    assert options(database) == {"size": {4: "Auto", 1: "Fixed"}, "mode": {5: "On", 3: "Off"}}
    assert not apply(database, fields)["changed"]


def test_an_option_whose_id_the_file_gives_to_another_name_gets_a_new_one(database: Database) -> None:
    apply(database, {"custom_fields": [drop_down("size", number("one", 5), number("two", 6))]})
    fields = {"custom_fields": [drop_down("size", "two", number("three", 6))]}
    assert apply(database, fields)["changed"]
    assert options(database)["size"] == {5: "one", 6: "three", 7: "two"}
    assert not apply(database, fields)["changed"]


def test_fields_with_ids_and_fields_without_are_in_nobodys_way(database: Database) -> None:
    fields = {"custom_fields": [drop_down("a", "x", "y"), drop_down("b", number("z", 1), number("w", 2))]}
    apply(database, fields)
    assert options(database) == {"a": {3: "x", 4: "y"}, "b": {1: "z", 2: "w"}}
    assert not apply(database, fields)["changed"]


def test_an_option_is_found_by_its_name_as_names_are_elsewhere(database: Database) -> None:
    apply(database, {"custom_fields": [drop_down("size", "small", "LARGE")]})
    assert apply(database, {"custom_fields": [drop_down("size", "Small", "Large")]})["changed"]
    assert options(database)["size"] == {1: "Small", 2: "Large"}


def test_an_id_that_another_field_has_is_refused(database: Database) -> None:
    apply(database, {"custom_fields": [drop_down("a", "x", "y")]})
    with pytest.raises(BadAccountFile, match="the option id 2 belongs to another custom field"):
        apply(database, {"custom_fields": [drop_down("b", "z", number("w", 2))]})
    assert list(options(database)) == ["a"]


@pytest.mark.parametrize("twice", [["Red", "red"], ["Red", number("RED", 3)], [number("Red", 3), "Red"]])
def test_two_options_of_one_name_are_refused_unless_both_have_ids(database: Database, twice: list[Any]) -> None:
    with pytest.raises(BadAccountFile, match=r"the options of custom field size: (?i:red) is there twice"):
        apply(database, {"custom_fields": [drop_down("size", *twice)]})


def test_options_of_one_name_that_the_api_made_survive_the_file(api: Api) -> None:
    made = {"custom_field_identifier": "hue", "custom_field_type": "checkbox"}
    api.call({"cmd": "create_custom_field", **made, "custom_field_options": [{"option_name": "red"}] * 2})
    with api.server.database.read() as connection:
        name = connection.execute(sa.select(schema.accounts.c.name).filter_by(id=api.account_id)).scalar_one()
        known = catalog.only(connection, name)
        account = known.accounts[api.account_id]
        text = accountexport.write(account, known.apps_of(account.id), list(sequencefile.parts(connection, account)))
    assert not accountfile.apply(api.server.database, accountfile.read_text(text, Path()), times.now())["changed"]


# -- senders --

MAIL = {"box": "1", "type": "email", "subject": "Hello", "markdown": "Hello"}


def sequence(**step: Any) -> dict[str, Any]:
    return {"sequences": [{"name": "Welcome", "steps": [{**MAIL, **step}]}]}


@pytest.mark.parametrize("name", ["sender", "reply_to"])
@pytest.mark.parametrize("text", ["Acme", "Acme <acme>", "Acme <a@b@c>"])
def test_a_sender_that_is_none_is_refused_where_it_stands(database: Database, name: str, text: str) -> None:
    with pytest.raises(BadAccountFile) as refused:
        apply(database, {"account": {"name": NAME, "mail": {name: text}}})
    assert str(refused.value) == f"[account.mail]: {name} = {text!r} is no `Name <address>`"
    with pytest.raises(BadAccountFile) as refused:
        apply(database, sequence(**{name: text}))
    assert str(refused.value) == f"sequence Welcome, box 1: {name} = {text!r} is no `Name <address>`"


def test_what_an_account_lacks_for_its_mail_is_told(database: Database) -> None:
    sender, address = ("sender", "address")
    mail = {"sender": "Acme <hello@acme.example>", "address": "1 Main Street"}

    def lacks(account: dict[str, str], **step: Any) -> list[str]:
        told = apply(database, {"account": {"name": NAME, "mail": account}, **sequence(**step)})
        return [
            word for warning in told.get("warnings", []) for word in (sender, address) if f"mail] {word}`" in warning
        ]

    assert lacks({}) == [sender, address]
    assert lacks({}, sender="me@acme.example") == [address]
    assert lacks({"sender": mail["sender"]}) == [address]
    assert lacks(mail) == []
    assert "warnings" not in apply(database, {"tags": [{"name": "Customer"}]})


def test_what_is_wrong_with_a_step_is_told_by_its_names(database: Database) -> None:
    with pytest.raises(BadAccountFile) as refused:
        apply(database, sequence(type="mail"))
    told = str(refused.value)
    assert told.startswith(
        "Invalid value 'mail' - at `sequences[0].steps[0].type` (sequence Welcome, box 1); the types are "
    )
    assert "email" in told
    with pytest.raises(
        BadAccountFile, match=r"only_if.type` \(sequence Welcome, box 1\); the types are has_tag, on_list,"
    ):
        apply(database, sequence(only_if={"type": "tag", "tag": "Gold"}))
    steps = [{"box": "1", "type": "assign_tag", "tag": "Gold"}]
    with pytest.raises(BadAccountFile, match=r"sequence Welcome, box 1: There is no tag of this name: Gold$"):
        apply(database, {"sequences": [{"name": "Welcome", "steps": steps}]})


def test_what_will_hardly_be_meant_so_is_told(database: Database) -> None:
    page = '<p>{frist_name}</p><a href="x">x</a><p style="background:url(a.png)">'
    page += '<img alt="" src="../pics/beans.png"><img src="https://x.example/a.png"><img src="{lead_picture}">'
    step = {**MAIL, "html": page}
    del step["markdown"]
    told = apply(database, {"sequences": [{"name": "Welcome", "steps": [step]}]})["warnings"]
    here = "sequence Welcome, box 1: "
    assert [warning.removeprefix(here).partition(":")[0] for warning in told if warning.startswith(here)] == [
        "nothing is called {frist_name}, it stays as it is",
        "no reader sees the picture a.png",
        "no reader sees the picture ../pics/beans.png",
    ]
    told = apply(database, sequence(markdown="![Beans](pics/beans.png)"))["warnings"]
    assert "the picture pics/beans.png" in told[0]


def test_what_comes_with_a_mail_is_written_back_as_it_was_given(database: Database, tmp_path: Path) -> None:
    (tmp_path / "beans.png").write_bytes(b"PNG")
    files = [
        {"name": "beans.png", "file": "beans.png", "inline": "beans"},
        {"name": "prices", "data": "MQ==", "media_type": "text/csv"},
    ]
    text = tomli_w.dumps({"account": {"name": NAME}} | sequence(attachments=files, markdown="![Beans](cid:beans)"))
    accountfile.apply(database, accountfile.read_text(text, tmp_path), times.now())
    with database.read() as connection:
        [account] = catalog.only(connection, NAME).accounts.values()
        [part] = sequencefile.parts(connection, account)
    [step] = part.steps
    assert isinstance(step, EmailStep)
    types = [file.media_type for file in content_of(step).attachments]
    assert types == ["image/png", "text/csv"]
    exported = accountfile.read_text(accountexport.write(account, [], [part]), tmp_path)
    assert not accountfile.apply(database, exported, times.now())["changed"]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"delay": "2d"}, "Expected `str` like `2 days` - at `sequences[0].steps[0].delay` (sequence Welcome, box 1)"),
        (
            {"next": "A 1"},
            "Expected `str` of 1 to 20 letters and digits - at `sequences[0].steps[0].next` (sequence Welc",
        ),
        (
            {"window": {"from": "9"}},
            "Expected `str` like `09:00` - at `sequences[0].steps[0].window.from` (sequence Wel",
        ),
        (
            {"window": {"to": "25:00"}},
            "Expected `str` like `17:00` or `24:00` - at `sequences[0].steps[0].window.to` (",
        ),
        ({"window": {"days": ["Monday"]}}, "There is no such choice: 'Monday' - at `sequences[0].steps[0].window.days"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_badly_written_is_told_in_words(database: Database, step: dict[str, Any], message: str) -> None:
    with pytest.raises(BadAccountFile) as refused:
        apply(database, sequence(**step))
    assert str(refused.value).startswith(message)


# -- passwords --


class Hasher(PasswordHasher):
    """Hashes, and does something in the meantime."""

    def __init__(self, meanwhile: Any) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self._meanwhile = meanwhile

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self._meanwhile()
        return super().hash(password, salt=salt)

    def verify(self, hash: str | bytes, password: str | bytes) -> Any:  # noqa: A002 - as the library has it
        self._meanwhile()
        return super().verify(hash, password)


def password_is(database: Database, password: str) -> bool:
    with database.read() as connection:
        [key] = catalog.only(connection, NAME).keys.values()
    return credentials.matches(key.password_hash, password)


def with_password(database: Database, password: str) -> dict[str, Any]:
    return apply(database, {"account": {"name": NAME, "api_password": password}})


def test_nobody_waits_for_a_hash(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    open_now: list[int] = []
    hashed: list[int] = []

    def begin(_connection: sa.Connection) -> None:
        open_now.append(1)

    def end(_connection: sa.Connection) -> None:
        open_now.pop()

    def count_open() -> None:
        hashed.append(len(open_now))

    heard = [("begin", begin), ("commit", end), ("rollback", end)]
    for name, hear in heard:
        sa.event.listen(database.engine, name, hear)
    try:
        monkeypatch.setattr(credentials, "_HASHER", Hasher(count_open))
        made = apply(database, {})
        with_password(database, "the-second-password")
        with_password(database, "the-second-password")
        with database.read() as connection:
            [account] = catalog.only(connection, NAME).accounts.values()
        accountkeys.rotate(database, account, times.now())
    finally:
        for name, hear in heard:
            sa.event.remove(database.engine, name, hear)
    assert made["api_password"]
    assert hashed == [0] * 5


def test_a_password_that_changes_meanwhile_is_looked_at_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_password(database, "the-first-password")
    plain, changes = credentials._HASHER, ["the-password-of-another"]

    def change() -> None:
        if changes:
            monkeypatch.setattr(credentials, "_HASHER", plain)
            with_password(database, changes.pop())
            monkeypatch.setattr(credentials, "_HASHER", hasher)

    hasher = Hasher(change)
    monkeypatch.setattr(credentials, "_HASHER", hasher)
    assert with_password(database, "the-first-password")["changed"]
    assert password_is(database, "the-first-password")
