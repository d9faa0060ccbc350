"""Migrations that a test adds to those that there are."""

import sys
from pathlib import Path

import pytest

from cartwheel.data import migrations


def add_migration(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, *lines: str) -> None:
    """Add one whose `up(tx)` consists of these lines. One that another test gave this name is forgotten."""
    body = "".join(f"\n    {line}" for line in lines)
    (folder / f"{name}.py").write_text(f"import sqlalchemy as sa\n\n\ndef up(tx):{body}\n")
    monkeypatch.setattr(migrations, "__path__", [*migrations.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, f"{migrations.__name__}.{name}", raising=False)
