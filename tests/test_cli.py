"""The command line, verb by verb, on both engines; what it changes, a running server knows at once."""

import json
import os
import socket
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from cartwheel import config
from cartwheel.cli.main import cli
from cartwheel.views import terminal
from commandline import Cartwheel, name_of
from harness import DEMO, Api


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An account file with something of everything."""
    path = tmp_path / "shop.toml"
    more = """
        [[apps]]
        name = "Elsewhere"
        mode = "test"
        rate_limit = 7
        allow_ips = ["203.0.113.0/24", "2001:db8::/32"]
        commands = ["lists:write", "assign_tag"]
        active = false
    """
    path.write_text(DEMO.replace("[account]", '[account]\ntimezone = "Europe/Berlin"\ngdpr = true') + more)
    return path


LINES = r"""
[[sequences]]
name = "Lines"
steps = [{ box = "1", type = "email", subject = "x", html = "<p>\r\n\\ \"\"\"</p>\n" }]
"""
"""A body that is hard to write down again."""


# -- apply and export --


@pytest.mark.usefixtures("url")
def test_apply_prints_one_json_object_and_tells_what_it_made_once(cartwheel: Cartwheel, file: Path) -> None:
    made = cartwheel("apply", file).json
    assert made["account"] == "Demo"
    assert made["changed"] is True
    assert len(made["api_key"]) >= 24
    assert len(made["api_password"]) >= 24
    assert [app["name"] for app in made["apps"]] == ["Website", "Elsewhere"]
    again = cartwheel("apply", file, "--json").json
    assert again == {key: made[key] for key in ("account", "account_id", "apps", "warnings")} | {"changed": False}


@pytest.mark.usefixtures("url")
def test_apply_tells_on_stderr_what_it_did(cartwheel: Cartwheel, file: Path) -> None:
    made = cartwheel("apply", file)
    assert made.err.splitlines() == [
        "account made: Demo",
        "API key and password made: Demo",
        "apps made: Website, Elsewhere",
        "lists made: Newsletter, Product news",
        "tags made: Trial user, Customer",
        "custom fields made: plan, interests, shoe_size",
        "options of custom fields made: Gold, Silver, Gardens, Kitchens, Tools",
        "sequences made: Welcome",
        "steps of sequences changed: Welcome (version 1)",
    ]
    assert made.json["api_key"] not in made.err
    assert cartwheel("apply", file).err == "nothing changed\n"
    text = file.read_text().replace("Our monthly letter", "Our letter")
    more = "".join(f"[[tags]]\nname = 'tag {number}'\n" for number in range(12))
    file.write_text(text.replace('name = "Welcome"', 'name = "Welcome"\npaused = true') + LINES + more)
    assert cartwheel("apply", file).err.splitlines() == [
        "lists changed: Newsletter",
        f"tags made: {', '.join(f'tag {number}' for number in range(10))} and 2 more",
        "sequences changed: Welcome",
        "sequences paused: Welcome",
        "sequences made: Lines",
        "steps of sequences changed: Lines (version 1)",
    ]


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("more", ["", LINES], ids=["plain", "hard"])
def test_applying_what_was_exported_changes_nothing(
    cartwheel: Cartwheel, file: Path, tmp_path: Path, more: str
) -> None:
    file.write_text(file.read_text() + more)
    cartwheel("apply", file)
    exported = tmp_path / "exported.toml"
    assert cartwheel("export-account", "--output", exported).out == ""
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    assert cartwheel("export-account", " demo ").out == exported.read_text()
    assert cartwheel("apply", exported).json["changed"] is False
    assert tomllib.loads(exported.read_text())["custom_fields"] == tomllib.loads(file.read_text())["custom_fields"]


@pytest.mark.usefixtures("url")
def test_an_exported_file_begins_with_the_account_and_has_a_table_an_entry(cartwheel: Cartwheel, file: Path) -> None:
    cartwheel("apply", file)
    heads = [line for line in cartwheel("export-account").out.splitlines() if line.startswith("[")]
    assert heads == [
        "[account]",
        "[account.mail]",
        "[account.retention]",
        *["[[apps]]"] * 2,
        *["[[lists]]"] * 2,
        *["[[tags]]"] * 2,
        *["[[custom_fields]]"] * 3,
        "[[sequences]]",
        "[sequences.entry]",
        *["[[sequences.steps]]"] * 2,
        "[sequences.steps.window]",
        "[[sequences.steps]]",
    ]


@pytest.mark.usefixtures("url")
def test_a_file_that_is_too_much_for_an_account_is_told_in_one_line(cartwheel: Cartwheel, tmp_path: Path) -> None:
    big = tmp_path / "big.toml"
    names = "".join(f"[[custom_fields]]\nidentifier = 'field-{number}'\ntype = 'text_area'\n" for number in range(251))
    big.write_text(f"[account]\nname = 'Big'\n{names}")
    ran = cartwheel("apply", big)
    assert (ran.code, ran.out) == (2, "")
    assert ran.trouble == "cartwheel: custom fields: 250 at most, and field-250 is one more"
    assert "there is no account Big" in cartwheel("export-account", "Big").trouble


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[account", "Expected"),
        ("[account]\ntimezone = 'UTC'", "name"),
        ("[account]\nname = 'x'\ntimezone = 'Moon/Sea'", "there is no time zone Moon/Sea"),
        ("[account]\nname = 'x'\napi_kee = 'x'", "api_kee"),
        ("[account]\nname = 'x'\n[[apps]]\nname = 'y'\ncommands = ['fly']", "there is no command or scope fly"),
    ],
)
def test_a_bad_account_file_is_told_in_one_line(
    cartwheel: Cartwheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    monkeypatch.setenv("CARTWHEEL_DATABASE", f"sqlite:///{tmp_path / 'x.db'}")
    bad = tmp_path / "bad.toml"
    bad.write_text(text)
    ran = cartwheel("apply", bad)
    assert ran.code == 2
    assert told in ran.trouble
    assert ran.out == ""
    assert not (tmp_path / "x.db").exists()


def test_an_account_file_that_is_not_there_is_told(cartwheel: Cartwheel, tmp_path: Path) -> None:
    ran = cartwheel("apply", tmp_path / "nothing.toml")
    assert (ran.code, ran.out) == (2, "")
    assert "nothing.toml cannot be read" in ran.trouble


@pytest.mark.usefixtures("url")
def test_the_account_has_to_be_named_only_when_there_are_several(
    cartwheel: Cartwheel, file: Path, tmp_path: Path
) -> None:
    cartwheel("migrate")
    assert "there is no account yet" in cartwheel("app", "list").trouble
    cartwheel("apply", file)
    assert cartwheel("app", "list").code == 0
    other = tmp_path / "other.toml"
    other.write_text("[account]\nname = 'Other'")
    cartwheel("apply", other)
    ran = cartwheel("app", "list")
    assert ran.code == 1
    assert "several accounts, so name one of them: Demo, Other" in ran.trouble
    assert cartwheel("app", "list", "--account", "other").code == 0
    assert "there is no account Third" in cartwheel("export-account", "Third").trouble


# -- the database --


@pytest.mark.usefixtures("url")
def test_migrate_says_what_ran(cartwheel: Cartwheel) -> None:
    assert cartwheel("migrate").out.startswith("Ran 0001_start")
    assert cartwheel("migrate").out == "Nothing to do: the tables are up to date.\n"


@pytest.mark.parametrize("verb", [("app", "list"), ("lead", "show", "ada@shop.example"), ("export-account",)])
def test_looking_never_makes_or_migrates_a_database(cartwheel: Cartwheel, url: str, verb: tuple[str, ...]) -> None:
    ran = cartwheel(*verb)
    assert ran.code == 1
    assert ("there is no file" if url.startswith("sqlite") else "0001_start has to run first") in ran.trouble
    ran = cartwheel("doctor")
    assert ran.code == 1
    assert "there is no file" in ran.err or "0001_start has not run" in ran.out


@pytest.mark.parametrize(
    ("database", "code", "told"),
    [
        ("oracle://x", 2, "CARTWHEEL_DATABASE: has to be"),
        ("postgresql://host:port/x", 2, "CARTWHEEL_DATABASE: has to be"),
        ("sqlite:////no/such/folder/x.db", 2, "there is no folder"),
        ("sqlite:////dev/null", 1, "the database cannot be used"),
        ("postgresql://u:p@127.0.0.1:1/x", 1, "Connection refused"),
    ],
)
def test_a_database_that_cannot_be_opened_is_told_in_one_line(
    cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch, database: str, code: int, told: str
) -> None:
    monkeypatch.setenv("CARTWHEEL_DATABASE", database)
    ran = cartwheel("migrate")
    assert ran.code == code
    assert told in ran.trouble


def test_trouble_is_one_line_without_a_traceback_in_a_process_of_its_own() -> None:
    environment = {**os.environ, "CARTWHEEL_PORT": "eighty"}
    done = subprocess.run(
        [sys.executable, "-m", "cartwheel", "migrate"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "cartwheel: CARTWHEEL_PORT: has to be a whole number from 0 to 65535\n"


# -- what keeps the server from starting --


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "told"),
    [
        (["--processes", "2"], {}, 2, "CARTWHEEL_PROCESSES: more than one process needs PostgreSQL"),
        (["--port", "99999"], {}, 2, "CARTWHEEL_PORT: has to be a whole number from 0 to 65535"),
        ([], {"TLS_CERT": __file__, "TLS_KEY": __file__}, 2, f"CARTWHEEL_TLS_CERT: {__file__} is no"),
        ([], {"TLS_CERT": __file__}, 2, "CARTWHEEL_TLS_KEY: CARTWHEEL_TLS_CERT and CARTWHEEL_TLS_KEY go together"),
        (["--host", "nowhere.invalid"], {"PORT": "0"}, 1, "cannot listen on nowhere.invalid port 0"),
    ],
)
def test_a_server_that_cannot_start_tells_it_in_one_line(
    cartwheel: Cartwheel,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    settings: dict[str, str],
    code: int,
    told: str,
) -> None:
    for name, value in {"DATABASE": f"sqlite:///{tmp_path / 'x.db'}", **settings}.items():
        monkeypatch.setenv(f"CARTWHEEL_{name}", value)
    ran = cartwheel("serve", *arguments)
    assert ran.code == code
    assert ran.trouble.startswith(f"cartwheel: {told}")
    assert not (tmp_path / "x.db").exists()


def test_a_taken_port_is_told_in_one_line(
    cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CARTWHEEL_DATABASE", f"sqlite:///{tmp_path / 'x.db'}")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        ran = cartwheel("serve", "--port", port)
    assert (ran.code, ran.trouble) == (1, f"cartwheel: cannot listen on 127.0.0.1 port {port}: Address already in use")


# -- settings and help --


def test_config_masks_passwords_and_names_what_is_no_setting(
    cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://me:pass@word@host/name\n")
    monkeypatch.delenv("CARTWHEEL_DATABASE", raising=False)
    monkeypatch.setenv("CARTWHEEL_DATABASE_FILE", str(secret))
    monkeypatch.setenv("CARTWHEEL_PROT", "80")
    ran = cartwheel("config", "--json").json
    database = next(entry for entry in ran["settings"] if entry["name"] == "CARTWHEEL_DATABASE")
    assert database["value"] == "postgresql://me:***@host/name"
    assert database["source"] == "CARTWHEEL_DATABASE_FILE"
    assert ran["unknown"] == ["CARTWHEEL_PROT"]
    shown = cartwheel("config").out
    assert "pass@word" not in shown
    assert "CARTWHEEL_PROT is set, and is no setting." in shown


def test_config_fits_a_narrow_terminal_and_breaks_no_word(
    cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "PLAIN_WIDTH", 60)
    shown = cartwheel("config").out.splitlines()
    assert not [line for line in shown if line != line.rstrip()]
    names = [line.split()[0] for line in shown if not line.startswith(" ")]
    assert names == [entry.variable for entry in config.find()]
    helps = [line for line in shown if line.startswith(" ")]
    assert not [line for line in helps if len(line) > 60 and " " in line.strip()]
    assert " ".join(" ".join(helps).split()) == " ".join(row.help for row in config.rows().values())


def verbs(group: TyperGroup, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in group.commands:
        found = group.commands[name]
        if isinstance(found, TyperGroup):
            yield from verbs(found, (*before, name))
        else:
            yield (*before, name)


ROOT = typer.main.get_command(cli)
assert isinstance(ROOT, TyperGroup)


@pytest.mark.parametrize("verb", list(verbs(ROOT)), ids=" ".join)
def test_every_verb_has_help(cartwheel: Cartwheel, verb: tuple[str, ...]) -> None:
    ran = cartwheel(*verb, "--help")
    assert ran.code == 0
    assert f"cartwheel {' '.join(verb)}" in ran.out


def test_the_version_is_told(cartwheel: Cartwheel) -> None:
    assert cartwheel("--version").out.startswith("cartwheel 0.")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("fly", "No such command 'fly' (see `cartwheel --help`)"),
        ("doctro", "No such command 'doctro'. Did you mean 'doctor'? (see `cartwheel --help`)"),
        ("doctor --fast", "No such option: --fast (see `cartwheel doctor --help`)"),
        ("apply", "Missing argument 'file' (see `cartwheel apply --help`)"),
        ("apply one two", "Got unexpected extra argument(s) (two) (see `cartwheel apply --help`)"),
        ("lead show", "Missing argument 'EMAIL' (see `cartwheel lead show --help`)"),
        ("serve --port", "Option '--port' requires an argument (see `cartwheel --help`)"),
        ("serve --port eighty", "Invalid value for '--port': "),
        ("app create Shop --mode dead", "Invalid value for '--mode': "),
    ],
)
def test_what_cannot_be_understood_is_told_in_one_line(cartwheel: Cartwheel, arguments: str, told: str) -> None:
    ran = cartwheel(*arguments.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.trouble.startswith(f"cartwheel: {told}")


@pytest.mark.parametrize("arguments", [(), ("lead",)])
def test_who_asks_for_nothing_gets_the_help(cartwheel: Cartwheel, arguments: tuple[str, ...]) -> None:
    ran = cartwheel(*arguments)
    assert (ran.code, ran.err) == (2, "")
    assert "Usage: cartwheel" in ran.out


# -- what a verb does not need, it does not load --


def alone(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which tells what it imported."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cartwheel", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("config",), ("lead", "--help"), ("fly",)])
def test_what_needs_no_database_loads_none(arguments: tuple[str, ...]) -> None:
    loaded = {line.rpartition("|")[2].strip() for line in alone(*arguments).stderr.splitlines()}
    assert "cartwheel.cli.main" in loaded
    assert not loaded & {"sqlalchemy", "psycopg", "uvicorn", "starlette", "asyncio", "cartwheel.data.catalog"}


def test_a_verb_alone_in_its_process_knows_the_commands(tmp_path: Path) -> None:
    """Whatever knows them is loaded with `apply` itself, not by the good luck of another import."""
    path = tmp_path / "x.toml"
    path.write_text("[account]\nname = 'x'\n[[apps]]\nname = 'y'\ncommands = ['assign_tag']\n")
    done = alone("apply", str(path), CARTWHEEL_DATABASE=f"sqlite:///{tmp_path / 'x.db'}")
    assert (done.returncode, json.loads(done.stdout)["account"]) == (0, "x")


# -- Apps and keys --


def test_an_app_is_made_rotated_disabled_and_enabled_under_a_running_server(cartwheel: Cartwheel, owner: Api) -> None:
    account = ("--account", name_of(owner))
    limits = ("--rate-limit", 0, "--command", "tags:write", "--allow-ip", "127.0.0.0/8", "--json")
    owner.app_id = cartwheel("app", "create", "Shop", *limits, *account).json["app_id"]
    owner_answer = owner.on("nobody@shop.example", "assign_tag", tag_name="Customer")
    assert owner_answer["message"] == "No lead found"
    assert owner.call({"cmd": "create_lead"}, lead={"email": "a@shop.example"})["type"] == "262"

    old = owner.app_id
    owner.app_id = cartwheel("app", "rotate", " shop ", "--json", *account).json["app_id"]
    assert owner.app_id != old
    assert owner.on("nobody@shop.example", "assign_tag", tag_name="Customer")["message"] == "No lead found"
    assert cartwheel("app", "disable", "Shop", *account).code == 0
    assert owner.on("nobody@shop.example", "assign_tag", tag_name="Customer")["type"] == "239"
    assert "app_id" not in cartwheel("app", "enable", "Shop", *account).out
    assert owner.on("nobody@shop.example", "assign_tag", tag_name="Customer")["type"] == "243"

    for arguments in (("app", "list"), ("app", "list", "--json")):
        listed = cartwheel(*arguments, *account)
        assert "Shop" in listed.out
        assert "tags:write" in listed.out
        assert owner.app_id not in listed.out


def test_an_app_is_made_once_and_has_to_be_there_to_be_changed(cartwheel: Cartwheel, owner: Api) -> None:
    account = ("--account", name_of(owner))
    ran = cartwheel("app", "create", "website", *account)
    assert (ran.code, ran.trouble) == (1, "cartwheel: there is an app Website already")
    ran = cartwheel("app", "rotate", "Nothing", *account)
    assert (ran.code, ran.trouble) == (1, "cartwheel: there is no app Nothing")
    ran = cartwheel("app", "create", "Other", "--command", "fly", *account)
    assert (ran.code, ran.trouble) == (2, "cartwheel: app Other: there is no command or scope fly")


def test_a_rotated_key_replaces_the_old_one_at_once(cartwheel: Cartwheel, owner: Api) -> None:
    made = cartwheel("key", "rotate", "--json", "--account", name_of(owner)).json
    assert owner.call({"cmd": "retrieve_account_tags"})["type"] == "203"
    owner.api_key, owner.api_password = made["api_key"], made["api_password"]
    assert owner.call({"cmd": "retrieve_account_tags"})["status"] == "Success"


def test_nobody_waits_for_what_a_verb_does_not_need(tmp_path: Path) -> None:
    asked = (
        "import sys\nfrom cartwheel.cli import context\nfrom cartwheel.data.db import Database\n"
        "from cartwheel.views import storyviews\nDatabase('sqlite:///none.db').lane\n"
        "print(*sorted({'psycopg', 'prometheus_client', 'cryptography.x509', 'markdown_it', 'starlette'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
