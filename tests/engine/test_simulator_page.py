"""The page about testing a sequence shows what is so."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commandline import Cartwheel

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "test-a-sequence.md"


def blocks(language: str) -> Iterator[str]:
    return (
        match[1] for match in re.finditer(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    )


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's account file."""
    [file] = blocks("toml")
    (tmp_path / "account.toml").write_text(file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("example")
def test_the_page_shows_what_the_command_prints(cartwheel: Cartwheel) -> None:
    [shown] = blocks("console")
    command, _, printed = shown.partition("\n")
    assert cartwheel(*command.removeprefix("$ cartwheel ").split()).out == printed


def test_the_tests_on_the_page_pass(example: Path) -> None:
    [code] = blocks("python")
    names: dict[str, Any] = {"__file__": str(example / "test_welcome.py")}
    exec(compile(code, "test_welcome.py", "exec"), names)
    tests = [test for name, test in names.items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        test()
