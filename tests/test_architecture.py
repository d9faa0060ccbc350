"""The rules of the house, each with its reason."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "cartwheel"
TREES = [SOURCE, SOURCE.parent.parent / "tests", SOURCE.parent.parent / "bench"]

ORDER = """
errors
-- pure: what there is and what can happen --
times network events mails leadparts leads emails bodies accounts schedule conditions stepparts steps flows moving
-- pure: mail --
reports replies outgoing plaintext readers merge inert splice mailhtml mime render smtpurl links dkim
mailparts bounces proofs providers composing boxurl
-- pure: telling --
stories telling whatifs
-- data --
config schema arrays lanes checkpoints db catalog mailstore leadstore due flowstore runstore signingkeys mailbox
-- edges --
observe orphans collector batches leadwork runwork tracking bouncebox bouncereader credentials ratelimits conversations smtp servers engine
sendlimits sending loops worker housekeeping wire
registry commands gate calls dispatch sequencefile accountrows accountfile accountexport doctor leadcard terminal views examples
openapi referencetables sequencepages reference publicdata public app serving cli_shared cli_work cli_accounts cli_leads
simulator why storyviews worlds testing demo moveplans runviews cli_sequences cli_runs mailviews cli_mail cli __main__
"""
"""A module may import those before it. Within `commands`, modules do not import each other."""

PURE = {word for part in ORDER.split("-- ") if part.startswith("pure") for word in part.partition("--")[2].split()} | {
    "errors"
}

FORBIDDEN_TO_PURE = {"asyncio", "sqlalchemy", "psycopg", "sqlite3", "starlette", "uvicorn", "random", "secrets", "os"}

DATA = set(ORDER.partition("-- data --")[2].partition("--")[0].split())

MOST_LINES = 500
MOST_FUNCTION_LINES = 60


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).with_suffix("").as_posix()
        if name != "__init__" and not name.startswith("migrations/"):
            yield name.removesuffix("/__init__"), path


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it, with its full name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(name: str) -> str:
    """`cartwheel.leads.Lead` → `leads`."""
    return name.split(".")[1]


ALL = [pytest.param(name, path, id=name) for name, path in modules()]
PLACES = [word for line in ORDER.splitlines() if not line.startswith("--") for word in line.split()]


@pytest.mark.parametrize(("name", "path"), ALL)
def test_imports_point_one_way(name: str, path: Path) -> None:
    """Nobody has to read upwards to understand a module, and operations never know of edges."""
    here = PLACES.index(name.split("/", maxsplit=1)[0])
    allowed = {*PLACES[:here], "migrations"} | ({name} if name == "commands" else set())
    used = {own(full) for full in imported(path) if full.startswith("cartwheel.")}
    assert used <= allowed


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_do_no_input_or_output(name: str) -> None:
    """The same decision on the same facts is the same, today and in a simulation."""
    used = {full.split(".")[0] for full in imported(SOURCE / f"{name}.py")}
    assert not used & FORBIDDEN_TO_PURE


@pytest.mark.parametrize(("name", "path"), ALL)
def test_the_clock_is_read_at_the_edges_only(name: str, path: Path) -> None:
    """Time is passed in, so that tests and the simulator can set it."""
    if name in {"times", "observe"}:
        return
    assert not re.search(r"datetime\.(now|utcnow|today)\(|time\.time\(", path.read_text())


@pytest.mark.parametrize(("name", "path"), ALL)
def test_sql_stands_in_the_data_modules(name: str, path: Path) -> None:
    """A reader finds every statement about a table in a data module."""
    if name in DATA | {"ratelimits", "doctor"}:
        return
    assert not re.search(r"\b(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM)\b", path.read_text())


@pytest.mark.parametrize(("name", "path"), ALL)
def test_the_numbers_of_kartra_stand_in_wire_only(name: str, path: Path) -> None:
    """Cartwheel's own rules do not depend on somebody else's numbering."""
    if name == "wire":
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
