"""`cartwheel import` and `cartwheel imports`."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from importshop import FILE

from cartwheel.accountfiles import accountfile
from cartwheel.data import schema
from cartwheel.data.db import Database
from commandline import Cartwheel
from harness import Clock

TEXT = "Email,First Name,Tags,Hat\nada@shop.example,Ada,VIP,L\nbob@shop.example,Bob,Fresh,M\n"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with closing(Database(url)) as database:
        database.migrate()
        accountfile.apply(database, accountfile.read_text(FILE, Path()), Clock()())
        yield database


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "leads.csv"
    path.write_text(TEXT)
    return path


def leads(database: Database) -> int:
    with database.read() as connection:
        return len(connection.execute(schema.leads.select()).all())


def test_a_file_is_tried_out_imported_and_taken_back(
    cartwheel: Cartwheel, database: Database, file: Path, tmp_path: Path
) -> None:
    tried = cartwheel("import", file, "--dry-run", "--json").json
    assert tried["counts"] == {"made": 1, "refused": 1}
    assert leads(database) == 0
    out = tmp_path / "refused.csv"
    done = cartwheel("import", file, "--refused", out, "--json").json
    assert (done["made"], done["refused"], done["state"]) == (1, 1, "finished")
    assert "there is no tag Fresh" in out.read_text()
    assert leads(database) == 1
    assert cartwheel("imports", "undo", done["number"], "--json").json["undone"] == 1
    assert leads(database) == 0
    assert [row["state"] for row in cartwheel("imports", "list", "--json").json] == ["undone"]
    assert cartwheel("imports", "undo", done["number"]).code == 1


def test_what_columns_are_about_can_be_said_and_kept(cartwheel: Cartwheel, database: Database, file: Path) -> None:
    ran = cartwheel(
        "import", file, "--make", "--make-fields", "--column", "First Name=company", "--save-template", "Hats"
    )
    assert ran.code == 0, ran.err
    with database.read() as connection:
        assert {row.company for row in connection.execute(schema.leads.select())} == {"Ada", "Bob"}
        assert "hat" in {row.identifier for row in connection.execute(schema.custom_fields.select())}
    again = cartwheel("import", file, "--template", "Hats", "--batch-tag", "", "--json").json
    assert (again["made"], again["same"], again["changed"]) == (0, 2, 0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--column", "Nose=phone"], "the file has no column Nose"),
        (["--column", "Hat=nose"], "nose is nothing that a column can be about"),
        (["--column", "Email="], "no column of the file holds e-mail addresses"),
        (["--preset", "acme"], "there is no preset acme"),
        (["--template", "acme"], "there is no template acme"),
        (["--consent", "perhaps"], "perhaps is no consent"),
        (["--tag", "acme"], "There is no tag of this name"),
        (["--start", "acme"], "has no sequence acme"),
        (["--encoding", "klingon"], "no text encoding klingon"),
    ],
)
@pytest.mark.usefixtures("database")
def test_what_makes_no_sense_is_told_in_one_line_and_nothing_is_kept(
    cartwheel: Cartwheel, file: Path, arguments: list[str], told: str
) -> None:
    ran = cartwheel("import", file, *arguments)
    assert ran.code == 1
    assert told in ran.trouble
    assert cartwheel("imports", "list", "--json").json == []
