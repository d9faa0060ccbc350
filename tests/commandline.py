"""The command line, run in the tests' own process."""

import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from cartwheel.cli.main import main
from cartwheel.data import schema
from harness import Api


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        [line] = self.out.splitlines()
        return json.loads(line)

    @property
    def trouble(self) -> str:
        """The one line that says what is wrong."""
        [line] = self.err.splitlines()
        assert line.startswith("cartwheel: ")
        return line


@dataclass(frozen=True)
class Cartwheel:
    """Call it as a shell would call the command."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object) -> Ran:
        self.monkeypatch.setattr(sys, "argv", ["cartwheel", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        shown = self.capsys.readouterr()
        code = end.value.code
        return Ran(code if isinstance(code, int) else 0, shown.out, shown.err)


def name_of(api: Api) -> str:
    """What the account is called, for `--account`."""
    with api.server.database.read() as connection:
        query = sa.select(schema.accounts.c.name).where(schema.accounts.c.id == api.account_id)
        return str(connection.execute(query).scalar_one())
