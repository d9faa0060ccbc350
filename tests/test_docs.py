"""What is written is what is so."""

import re
import subprocess
import textwrap
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from cartwheel import times
from cartwheel.accountfiles import accountfile
from cartwheel.cli.main import pages
from cartwheel.data.db import Database
from cartwheel.sequences.steps import STEP_TYPES
from conftest import Databases

ROOT = Path(__file__).parent.parent


def documents() -> Iterator[Path]:
    """Every page of the repository, be it committed or not yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    found = [ROOT / name for name in names] or [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return (path for path in sorted(found) if path.exists())


def test_the_reference_is_what_the_code_says() -> None:
    written = {path.name: path.read_text() for path in (ROOT / "docs" / "reference").iterdir()}
    assert written == pages(), "`make reference` writes it anew"


def account_files() -> Iterator[tuple[str, str]]:
    """The account files of all pages, which begin with the account."""
    for path in documents():
        for number, block in enumerate(
            re.findall(r"^ *```toml\n(.*?)^ *```", path.read_text(), re.MULTILINE | re.DOTALL)
        ):
            if textwrap.dedent(block).startswith("[account]"):
                yield f"{path.relative_to(ROOT).as_posix()} {number}", textwrap.dedent(block)


FILES = dict(account_files())


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_an_account_file_that_is_shown_can_be_applied(databases: Databases, text: str) -> None:
    database = Database(databases.new("sqlite"))
    database.migrate()
    read = accountfile.read_text(text, ROOT)
    assert accountfile.apply(database, read, times.now())["changed"]
    assert not accountfile.apply(database, read, times.now())["changed"]
    database.close()


def test_the_steps_that_are_shown_can_be_applied(databases: Databases) -> None:
    database = Database(databases.new("sqlite"))
    database.migrate()
    read = accountfile.read_text(files("cartwheel").joinpath("steps.toml").read_text(), ROOT)
    assert {type(step) for sequence in read.sequences for step in sequence.steps} == set(STEP_TYPES)
    assert "warnings" not in accountfile.apply(database, read, times.now())
    database.close()


def test_the_account_file_of_who_moves_is_among_them() -> None:
    assert any(name.startswith("docs/how-to/move-from-kartra.md") for name in FILES)


def links(path: Path) -> Iterator[str]:
    """The targets of a page's links, code left out."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "code", text)
    yield from re.findall(r"\]\(\s*<?([^)\s>]+)", text)
    yield from re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, flags=re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """What can stand behind a `#`, by GitHub's rules."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", list(documents()), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in links(path):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []
