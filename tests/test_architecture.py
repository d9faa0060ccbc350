"""The rules of the house, each with its reason."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "cartwheel"
TREES = [SOURCE, SOURCE.parent.parent / "tests", SOURCE.parent.parent / "bench"]

ORDER = """
pure |               | phrases errors times network readers emails
pure | leads         | searchkeys leadparts events mails lead mailing clicks erasing editing merging filters
pure | hooks         | outbound
pure |               | accounts people
pure | api           | leadshape
pure | hooks         | envelope
pure | leads         | acts importing
pure | imports       | dialects columns deciding
pure | sequences     | schedule conditions stepparts steps flows moving telling triggers actions automations
pure | bounces       | reports mailparts reading proofs providers boxurl
pure | mail          | replies outgoing plaintext merge inert splice nesting mailhtml designs mime render smtpurl links dkim composing
pure | simulation    | stories whatifs madeup
edge |               | config
data | data          | columns automationtables catalogtables hooktables peopletables importtables schema arrays lanes postgreslane checkpoints db bulkrows backups catalog erasures dailycounts mailstore hookfeed leadstore leadfeed due
data | data          | flowstore draftstore runstore noticestore signingkeys mailbox ratelimits callanswers eventfeed doctor catalogchanges tokenstore fieldoptions bygones membercounts installation userstore factors callstore retention
data | data          | leadconditions leadsearch segments bulkstore mailledger suppressionstore hookstore importstore attention importundo exportstore wholeleads renumbering wholeimport
edge | process       | observe orphans collector loops
edge | work          | reacting batches callcounts changes leadwork mailwork bulkwork moveplans runwork engine housekeeping
edge | imports       | sheets refused keeping slicework undoing running
edge | bounces       | bouncebox
edge | sending       | conversations smtp servers sendlimits posts settling handover carriers sender notifier tracking bouncereader
edge | hooks         | targets posting delivering byhand
edge | api           | bodies wire registry commands credentials gate calls dispatch redaction recorder
edge | accountfiles  | fileparts sequencefile automationfile webhookfile accountkeys accountrows accountfile accountexport uses tokens drafting
edge | views         | terminal leadcard automationviews why asking
edge | rest          | records problems operations calls cursors named fields sequences suppressions upserts leads events table description site
edge | client        | trouble transport modern kartra __init__
edge | mcp           | tools server
edge | moving        | reports answers origin fetching running counting telling
edge | reference     | examples openapi tables sequencepages restpages hookpages pages
edge | simulation    | simulator worlds
edge | views         | tables storyviews runviews mailviews hookviews
edge | public        | texts publicdata pages
edge | exports       | formats records writers streams
edge | ui            | collecting translations attempts menu dnscheck remembered slots streaming visits registry forgery passwords mailwords mailframes manywork rendering browsers snippets explaining trying
edge | ui            | stepwords stepforms automationforms attaching flowdrawings sequencing trials
edge | ui            | approle secondfactor entering naming mailservers accountforms invitations
edge | ui            | leadquestions mailquestions filterforms bulkforms pages site
edge |               | app worker serving testing
edge | cli           | shared context
edge |               | demopeople demoreaders demopast demo
edge | cli           | accounts hooks exports backups leads sequences automations runs mail people tokens assistants imports moves main
edge |               | __main__
"""
"""A module may import those before it. Within `commands`, modules do not import each other."""


def rows() -> Iterator[tuple[str, str]]:
    """(kind, module) in the order."""
    for line in ORDER.strip().splitlines():
        kind, package, names = (part.strip() for part in line.split("|"))
        yield from ((kind, f"{package}.{name}" if package else name) for name in names.split())


PLACES = [name for _, name in rows()]
PURE = [name for kind, name in rows() if kind == "pure"]
DATA = {name for kind, name in rows() if kind == "data"}

FORBIDDEN_TO_PURE = {"asyncio", "sqlalchemy", "psycopg", "sqlite3", "starlette", "uvicorn", "random", "secrets", "os"}

MOST_LINES = 500
MOST_FUNCTION_LINES = 60


def modules() -> Iterator[tuple[str, Path]]:
    """Every file of the package that has something in it, with the name of its place."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if path.stat().st_size and parts[0] != "__init__" and "migrations" not in parts:
            yield place(".".join(parts)), path


def place(name: str) -> str:
    """`leads.lead.Lead` → `leads.lead`; `api.commands.tags` → `api.commands`; `errors.NoSuchName` → `errors`."""
    first, second, *_ = *name.split("."), ""
    return first if first in PLACES else f"{first}.{second}"


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it, with its full name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


ALL = [pytest.param(name, path, id=path.relative_to(SOURCE).as_posix()) for name, path in modules()]


@pytest.mark.parametrize(("name", "path"), ALL)
def test_imports_point_one_way(name: str, path: Path) -> None:
    """Nobody has to read upwards to understand a module, and operations never know of edges."""
    here = PLACES.index(name)
    allowed = {*PLACES[:here], "data.migrations"} | ({name} if name in {"api.commands", "ui.pages"} else set())
    used = {place(full.removeprefix("cartwheel.")) for full in imported(path) if full.startswith("cartwheel.")}
    assert used <= allowed


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_do_no_input_or_output(name: str) -> None:
    """The same decision on the same facts is the same, today and in a simulation."""
    used = {full.split(".")[0] for full in imported(SOURCE / f"{name.replace('.', '/')}.py")}
    assert not used & FORBIDDEN_TO_PURE


@pytest.mark.parametrize(("name", "path"), ALL)
def test_the_clock_is_read_at_the_edges_only(name: str, path: Path) -> None:
    """Time is passed in, so that tests and the simulator can set it."""
    if name in {"times", "process.observe"}:
        return
    assert not re.search(r"datetime\.(now|utcnow|today)\(|time\.time\(", path.read_text())


@pytest.mark.parametrize(("name", "path"), ALL)
def test_sql_stands_in_the_data_modules(name: str, path: Path) -> None:
    """A reader finds every statement about a table in a data module."""
    if name in DATA:
        return
    assert not re.search(r"\b(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM)\b", path.read_text())


@pytest.mark.parametrize(("name", "path"), ALL)
def test_the_numbers_of_kartra_stand_in_wire_only(name: str, path: Path) -> None:
    """Cartwheel's own rules do not depend on somebody else's numbering."""
    if name == "api.wire":
        return
    strings = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    assert not [text for text in strings if isinstance(text, str) and re.fullmatch(r"2\d\d|10[1-9]|11\d", text)]


def test_files_and_functions_stay_small() -> None:
    """Giant files are never planned: they happen where nothing forbids them."""
    too_long = []
    for tree in TREES:
        for path in tree.rglob("*.py"):
            text = path.read_text()
            if len(text.splitlines()) > MOST_LINES:
                too_long.append(path.name)
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    lines = (node.end_lineno or 0) - node.lineno + 1
                    if lines > MOST_FUNCTION_LINES:
                        too_long.append(f"{path.name}:{node.name}")
    assert too_long == []
