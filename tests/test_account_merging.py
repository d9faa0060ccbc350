"""A file changes what it names, and nothing else: random accounts, random files about parts of them."""

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import sqlalchemy as sa
import tomli_w
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import inspect as types

from cartwheel import times
from cartwheel.accountfiles import accountexport, accountfile, sequencefile
from cartwheel.accountfiles.fileparts import AccountFile
from cartwheel.data import catalog, schema
from cartwheel.data.db import Database
from cartwheel.errors import BadAccountFile
from conftest import Databases

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def database(engine: str, databases: Databases) -> Iterator[Database]:
    opened = Database(databases.migrated(engine))
    opened.migrate()
    yield opened
    opened.close()


_NUMBERS = itertools.count(1)


def new_name() -> str:
    return f"Account {next(_NUMBERS)}"


def read(name: str, file: Tree) -> AccountFile:
    text = tomli_w.dumps({**file, "account": {"name": name, **file.get("account", {})}})
    return accountfile.read_text(text, Path())


def apply(database: Database, name: str, file: Tree) -> Tree:
    return accountfile.apply(database, read(name, file), times.now())


def exported(database: Database, name: str) -> Tree:
    """What `export-account` writes, without what differs by account."""
    with database.read() as connection:
        known = catalog.only(connection, name)
        [account] = known.accounts.values()
        sequences = list(sequencefile.parts(connection, account))
    tree = tomllib.loads(accountexport.write(account, known.apps_of(account.id), sequences))
    del tree["account"]["name"]
    for app in tree.get("apps", []):
        del app["app_id"]
    return tree


# -- random files --


def table(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[Tree]:
    """Some of the keys."""
    return st.fixed_dictionaries({}, optional=values)


def entries(key: str, names: str, part: st.SearchStrategy[Tree]) -> st.SearchStrategy[list[Tree]]:
    return st.dictionaries(st.sampled_from(names.split()), part, max_size=3).map(
        lambda named: [{key: name, **inner} for name, inner in named.items()]
    )


FLAGS = st.booleans()
WORDS = st.sampled_from(["", "Our letter", "Ünïcode"])
SENDERS = st.sampled_from(["", "a@acme.example", "Acme <b@acme.example>"])
STEPS = st.lists(st.integers(1, 100), max_size=3).map(
    lambda points: [{"type": "points", "box": str(box), "points": many} for box, many in enumerate(points, 1)]
)
MAIL = table(
    sender=SENDERS, reply_to=SENDERS, address=WORDS, track_opens=FLAGS, track_clicks=FLAGS,
    soft_bounces=st.integers(1, 9), in_doubt=st.sampled_from(["hold", "resend"]),
)  # fmt: skip
DAYS = st.integers(0, 400)
RETENTION = table(opens_and_clicks=DAYS, events=DAYS, mails=DAYS, deleted_leads=DAYS)
FILES = table(
    account=table(
        timezone=st.sampled_from(["America/New_York", "Europe/Madrid", "UTC"]),
        gdpr=FLAGS,
        active=FLAGS,
        mail=MAIL,
        retention=RETENTION,
    ),
    apps=entries(
        "name",
        "Web Shop Test",
        table(
            mode=st.sampled_from(["live", "test"]),
            rate_limit=st.sampled_from([0, 20, 7]),
            allow_ips=st.lists(st.sampled_from(["10.0.0.0/8", "::1"]), unique=True),
            commands=st.lists(st.sampled_from(["*", "get_lead", "lists:write", "assign_tag"])),
            active=FLAGS,
        ),
    ),
    lists=entries("name", "News Letters", table(public_name=WORDS)),
    tags=entries("name", "Gold Silver", table()),
    custom_fields=entries("identifier", "size hue", st.just({"type": "text_area"})),
    sequences=entries(
        "name",
        "One Two Three",
        table(
            public_name=WORDS,
            paused=FLAGS,
            entry=table(again=FLAGS, most=st.integers(0, 3), days=st.integers(1, 40)),
            steps=STEPS,
        ),
    ),
)

NEW: Mapping[str, Tree] = {
    "account": {
        "timezone": "America/New_York",
        "gdpr": False,
        "active": True,
        "mail": {
            "sender": "", "reply_to": "", "address": "", "track_opens": True, "track_clicks": True,
            "soft_bounces": 5, "in_doubt": "hold",
        },
        "retention": {"opens_and_clicks": 0, "events": 0, "mails": 0, "deleted_leads": 0},
    },
    "apps": {"mode": "live", "rate_limit": 20, "allow_ips": [], "commands": ["*"], "active": True},
    "lists": {"public_name": ""},
    "tags": {},
    "custom_fields": {},
    "sequences": {
        "public_name": "",
        "paused": False,
        "entry": {"again": True, "most": 0, "days": 30},
        "steps": [],
    },
}  # fmt: skip
"""What something new is where its file says nothing."""


def laid(known: Tree, said: Tree) -> Tree:
    """Tables key by key, everything else as a whole."""
    return known | {key: laid(known[key], value) if isinstance(value, dict) else value for key, value in said.items()}


def expected(before: Tree | None, file: Tree) -> Tree:
    """The account as its export says it when the file has been applied."""
    known = before or {}
    after = {**known, "account": laid(known.get("account", NEW["account"]), file.get("account", {}))}
    for kind, parts in file.items():
        key = "identifier" if kind == "custom_fields" else "name"
        if kind == "account" or not parts:
            continue
        named = {part[key]: part for part in known.get(kind, [])}
        for part in parts:
            named[part[key]] = laid(named.get(part[key], NEW[kind]), part)
        after[kind] = list(named.values())
    return {**after, "apps": [{**app, "commands": in_order(app["commands"])} for app in after.get("apps", [])]}


def in_order(commands: list[str]) -> list[str]:
    """As they are stored."""
    return ["*"] if "*" in commands else sorted(set(commands))


def same(one: Tree, other: Tree) -> None:
    assert one == {kind: part for kind, part in other.items() if part}


# -- what it changes --

RIGHTS: Tree = {
    "account": {"timezone": "Europe/Madrid", "gdpr": True, "mail": {"sender": "a@b.example", "track_opens": False}},
    "apps": [{"name": "Web", "mode": "test", "allow_ips": ["10.0.0.0/8"], "commands": ["get_lead"]}],
    "lists": [{"name": "News", "public_name": "Pretty"}],
    "sequences": [
        {
            "name": "One",
            "paused": True,
            "entry": {"again": False},
            "steps": [{"type": "points", "box": "1", "points": 1}],
        }
    ],
}
PARTS_OF_TABLES: Tree = {
    "account": {"mail": {"address": "Our letter"}},
    "sequences": [{"name": "One", "entry": {"most": 2}}],
}
SHORT: Tree = {kind: [{"name": RIGHTS[kind][0]["name"]}] for kind in ("apps", "lists", "sequences")}


@settings(max_examples=25, deadline=None)
@given(first=FILES, second=FILES)
@example(first=RIGHTS, second=SHORT)
@example(first=RIGHTS, second=PARTS_OF_TABLES)
def test_a_file_changes_the_keys_that_it_names_and_no_others(database: Database, first: Tree, second: Tree) -> None:
    name = new_name()
    apply(database, name, first)
    before = exported(database, name)
    same(before, expected(None, first))
    told = apply(database, name, second)
    after = exported(database, name)
    same(after, expected(before, second))
    assert told["changed"] is (after != before)
    assert "api_key" not in told
    assert "api_password" not in told
    assert not apply(database, name, second)["changed"]
    assert not apply(database, name, after)["changed"]


@settings(max_examples=12, deadline=None)
@given(one=FILES, other=FILES)
def test_an_exported_file_says_everything_whatever_was_there(database: Database, one: Tree, other: Tree) -> None:
    first, second = new_name(), new_name()
    apply(database, first, one)
    apply(database, second, other)
    file = exported(database, first)
    apply(database, second, file)
    after = exported(database, second)
    assert after["account"] == file["account"]
    assert all(part in after[kind] for kind, parts in file.items() if kind != "account" for part in parts)
    assert not apply(database, second, file)["changed"]


def stored(database: Database, name: str) -> dict[str, list[Tree]]:
    """All rows of the account, as they are."""
    with database.read() as connection:
        [number] = catalog.only(connection, name).accounts
        mine = {table: "account_id" for table in schema.metadata.sorted_tables if "account_id" in table.c}
        return {
            table.name: [
                dict(row) for row in connection.execute(sa.select(table).filter_by(**{column: number})).mappings()
            ]
            for table, column in {**mine, schema.accounts: "id"}.items()
        }


def test_a_file_that_names_things_without_saying_anything_of_them_writes_nothing(database: Database) -> None:
    name = new_name()
    apply(database, name, RIGHTS)
    before = stored(database, name)
    assert apply(database, name, SHORT)["changed"] is False
    assert stored(database, name) == before


def test_only_a_file_that_says_so_lets_a_sequence_go_on_or_takes_its_steps(database: Database) -> None:
    def sequence() -> tuple[bool, bool, int, str]:
        [row] = stored(database, name)["sequences"]
        return bool(row["paused"]), row["resumed_at"] is not None, row["version"], row["boxes"]

    name = new_name()
    apply(database, name, RIGHTS)
    assert sequence() == (True, False, 1, '["1"]')
    apply(database, name, {"sequences": [{"name": "One", "public_name": "First"}]})
    assert sequence() == (True, False, 1, '["1"]')
    apply(database, name, {"sequences": [{"name": "One", "paused": False}]})
    assert sequence() == (False, True, 1, '["1"]')
    apply(database, name, {"sequences": [{"name": "One", "steps": []}]})
    assert sequence() == (False, True, 2, "[]")


def test_what_is_archived_stays_so_until_a_file_brings_it_back(database: Database) -> None:
    def sequence() -> tuple[bool, bool]:
        [row] = stored(database, name)["sequences"]
        return bool(row["paused"]), row["archived_at"] is not None

    name, other = new_name(), new_name()
    apply(database, name, {"sequences": [{"name": "One", "archived": True}]})
    assert sequence() == (True, True)
    file = exported(database, name)
    assert file["sequences"][0]["archived"] is True
    assert not apply(database, name, file)["changed"]
    apply(database, name, {"sequences": [{"name": "One", "paused": False}]})
    assert sequence() == (True, True)
    apply(database, other, file)
    assert exported(database, other)["sequences"] == file["sequences"]
    apply(database, name, {"sequences": [{"name": "One", "archived": False, "paused": False}]})
    assert sequence() == (False, False)
    assert "archived" not in exported(database, name)["sequences"][0]


def test_an_app_that_may_do_everything_is_written_back_as_one(database: Database) -> None:
    name = new_name()
    apps = {"apps": [{"name": "Web", "commands": ["get_lead", "*"]}]}
    apply(database, name, apps)
    assert not apply(database, name, exported(database, name))["changed"]
    assert not apply(database, name, apps)["changed"]


# -- options of custom fields --


def field(*options: str | Tree) -> Tree:
    said = {"options": [{"name": option} if isinstance(option, str) else option for option in options]}
    return {"custom_fields": [{"identifier": "size", "type": "drop_down", **(said if options else {})}]}


def test_a_choice_needs_its_options_only_when_it_is_new(database: Database) -> None:
    name = new_name()
    with pytest.raises(BadAccountFile, match="custom field size: choice types have two or more options"):
        apply(database, name, field())
    apply(database, name, field("S", "M"))
    before = exported(database, name)
    assert not apply(database, name, field())["changed"]
    assert exported(database, name) == before


def test_options_that_a_file_does_not_name_stay_behind_those_it_names(database: Database) -> None:
    name = new_name()
    apply(database, name, field("S", "M", "L", "XL"))
    assert apply(database, name, field("L", "XXL", "M"))["changed"]
    after = exported(database, name)
    assert [option["name"] for option in after["custom_fields"][0]["options"]] == ["L", "XXL", "M", "S", "XL"]
    assert not apply(database, name, after)["changed"]
    assert not apply(database, name, field("L", "XXL", "M"))["changed"]


# -- what a text may be --


def forms(kind: types.Type, seen: set[type]) -> Iterator[str]:
    """Every pattern that a text of the file has to match."""
    match kind:
        case types.Metadata():
            yield from forms(kind.type, seen)
        case types.StrType():
            yield from [kind.pattern] if kind.pattern else []
        case types.ListType():
            yield from forms(kind.item_type, seen)
        case types.UnionType():
            for inner in kind.types:
                yield from forms(inner, seen)
        case types.StructType() if kind.cls not in seen:
            seen.add(kind.cls)
            for inner_field in kind.fields:
                yield from forms(inner_field.type, seen)


FORMS = sorted(set(forms(types.type_info(AccountFile), set())))

FITTING = ["News", "abcdefgh", "1", "2 days", "09:00", "size"]


def test_the_forms_are_found() -> None:
    assert len(FORMS) == 7


@pytest.mark.parametrize("form", FORMS)
def test_what_does_not_fit_a_form_is_told_in_words(form: str) -> None:
    text = Annotated[str, msgspec.Meta(pattern=form)]
    fitting = [word for word in FITTING if re.search(form, word)]
    assert fitting
    for word in fitting:
        assert msgspec.convert(word, text) == word
        with pytest.raises(msgspec.ValidationError) as refused:
            msgspec.convert(f"{word}\n", text)
        assert "regex" in str(refused.value)
        assert "regex" not in accountfile._plainly(str(refused.value))


def step(**values: Any) -> Tree:
    return {"sequences": [{"name": "One", "steps": [{"box": "1", "type": "points", "points": 1, **values}]}]}


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ({"account": {"name": "Acme\n"}}, "without space around it - at `account.name`"),
        ({"account": {"api_key": "abcdefgh\n"}}, "without space in it - at `account.api_key`"),
        ({"account": {"api_password": "abcdefgh\n"}}, "without space in it - at `account.api_password`"),
        ({"apps": [{"name": "Web", "app_id": "abcdefgh\n"}]}, "without space in it - at `apps[0].app_id`"),
        ({"lists": [{"name": "News\n"}]}, "without space around it - at `lists[0].name`"),
        ({"tags": [{"name": "Gold\n"}]}, "without space around it - at `tags[0].name`"),
        (
            {"custom_fields": [{"identifier": "size\n", "type": "text_area"}]},
            "of 1 to 100 letters, digits, dashes and underscores - at `custom_fields[0].identifier`",
        ),
        ({"sequences": [{"name": "One\n"}]}, "without space around it - at `sequences[0].name`"),
        (step(box="1\n"), "of 1 to 20 letters and digits - at `sequences[0].steps[0].box`"),
        (step(next="1\n"), "of 1 to 20 letters and digits - at `sequences[0].steps[0].next`"),
        (step(delay="2 days\n"), "like `2 days` - at `sequences[0].steps[0].delay`"),
        (step(window={"from": "09:00\n"}), "like `09:00` - at `sequences[0].steps[0].window.from`"),
        (step(window={"to": "24:00\n"}), "like `17:00` or `24:00` - at `sequences[0].steps[0].window.to`"),
    ],
    ids=lambda value: value.rpartition("`")[0].rpartition(".")[2] if isinstance(value, str) else "",
)
def test_a_text_that_ends_with_a_line_break_is_refused(file: Tree, told: str) -> None:
    with pytest.raises(BadAccountFile) as refused:
        read("Acme", file)
    assert str(refused.value).startswith(f"Expected `str` {told}")
