"""Leads are imported from a file: each row as the file says it, once, whatever happens meanwhile."""

from collections.abc import Iterator

import pytest
from importshop import ImportShop

from cartwheel.data import schema
from conftest import Databases

ROWS = """Email,First Name,Tags,Lists,shoe_size,Plan,Score
ada@shop.example,Ada,Customer; VIP,Newsletter,38,Gold,12
bob@shop.example,Bob,,Newsletter,,,
nobody,No,,,,,
cyd@shop.example,Cyd,Stranger,,,,
ada@shop.example,Second,,,,,
"""


@pytest.fixture
def shop(engine: str, databases: Databases) -> Iterator[ImportShop]:
    made = ImportShop(databases.new(engine))
    yield made
    made.close()


def test_rows_become_leads(shop: ImportShop) -> None:
    done = shop.run(ROWS, batch_tag="Import of March")
    assert (done.state, done.made, done.refused, done.repeated) == ("finished", 2, 2, 1)
    ada = shop.lead("ada@shop.example")
    assert (ada["first_name"], ada["score"], ada["source"]) == ("Ada", 12, "import")
    kinds = [row["kind"] for row in shop.rows(schema.events, lead_id=ada["id"])]
    assert kinds == ["lead_created", "tag_assigned", "tag_assigned", "tag_assigned", "list_joined", "points_given"]
    before = shop.tables()
    again = shop.run(ROWS, make=True)
    assert (again.made, again.same) == (1, 2)
    shop.undo(again.id)
    assert shop.tables() == before
