"""The stranger's path of docs/tutorial/first-sequence.md, step by step, in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cartwheel.data import userstore
from cartwheel.people import LinkKind
from conftest import Databases
from harness import Server

TUTORIAL = Path(__file__).parent.parent.parent.joinpath("docs", "tutorial", "first-sequence.md").read_text()


@pytest.fixture
def empty(databases: Databases) -> Iterator[Server]:
    """A server that nobody has set up."""
    running = Server(databases.new("sqlite"))
    yield running
    running.stop()


def press(page: Page, name: str) -> None:
    """A button or an entry of the menu that the tutorial names."""
    assert f"**{name}**" in TUTORIAL, name
    page.get_by_role("button", name=name).or_(page.get_by_role("link", name=name, exact=True)).first.click()


def type_(page: Page, field: str, text: str) -> None:
    assert text in TUTORIAL, text
    page.locator(f"#f-{field}").fill(text)


def test_a_stranger_gets_from_nothing_to_lists_and_tags(browser: Browser, empty: Server) -> None:
    assert [int(number) for number in re.findall(r"^## (\d)\.", TUTORIAL, re.MULTILINE)] == [1, 2, 3, 4]
    with empty.database.write() as connection:
        token = userstore.make_link(connection, LinkKind.SETUP, empty.clock())
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(f"{empty.url}/setup/{token}")
    page.locator("#f-name").fill("Ada Lovelace")
    page.locator("#f-email").fill("ada@engines.example")
    page.locator("#f-password").fill("correct horse battery")
    page.locator("#f-account").fill("Engines")
    press(page, "Begin")
    press(page, "Lists")
    type_(page, "name", "Newsletter")
    type_(page, "public_name", "Our monthly letter")
    press(page, "Make the list")
    expect(page.get_by_role("link", name="Newsletter")).to_be_visible()
    press(page, "Tags")
    type_(page, "name", "Customer")
    press(page, "Make the tag")
    page.get_by_role("link", name="Customer").click()
    press(page, "Delete the tag")
    press(page, "Undo")
    expect(page.get_by_role("link", name="Customer")).to_be_visible()
    context.close()
