"""The main path in a real browser that runs no scripts: from the set-up link to a mail in the test mailbox."""

from collections.abc import Iterator

import pytest
from office import Office
from playwright.sync_api import Browser, Page, expect

from cartwheel.data import userstore
from cartwheel.people import LinkKind
from conftest import Databases
from harness import Server

ADA = "ada@engines.example"


@pytest.fixture
def empty(databases: Databases) -> Iterator[Server]:
    """A server that nobody has set up."""
    running = Server(databases.migrated("sqlite"))
    yield running
    running.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """On a phone, and without scripts."""
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800}, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(10_000)
    yield page
    context.close()


def press(page: Page, name: str) -> None:
    """A button or a link that leads to another page."""
    wanted = page.get_by_role("button", name=name).or_(page.get_by_role("link", name=name, exact=True)).first
    with page.expect_navigation():
        wanted.click()


def menu(page: Page, name: str) -> None:
    page.get_by_label("Menu").click()
    press(page, name)


def set_up(page: Page, server: Server) -> None:
    with server.database.write() as connection:
        token = userstore.make_link(connection, LinkKind.SETUP, server.clock())
    page.goto(f"{server.url}/setup/{token}")
    page.locator("#f-name").fill("Ada Lovelace")
    page.locator("#f-email").fill(ADA)
    page.locator("#f-password").fill("correct horse battery")
    page.locator("#f-account").fill("Engines")
    page.locator("#f-zone").select_option("Europe/London")
    press(page, "Continue")
    page.locator("#f-sender_email").fill("hello@engines.example")
    page.locator("#f-address").fill("1 Main Street, London")
    press(page, "Continue")
    press(page, "Keep the test mailbox for now")


def make_sequence(page: Page) -> None:
    menu(page, "Sequences")
    page.get_by_label("Name", exact=True).fill("Welcome")
    page.get_by_label("Begin with").select_option("empty")
    press(page, "Make the sequence")
    press(page, "Add an e-mail")
    page.get_by_label("Subject").fill("Hello {first_name}")
    page.get_by_label("Body").fill("Good day, *{first_name}*.")
    press(page, "Add the step")
    press(page, "Publish …")
    press(page, "Publish version 1")
    expect(page.locator("body")).to_contain_text("Version 1 is published")


def test_from_the_first_run_to_a_mail_in_the_test_mailbox(page: Page, empty: Server) -> None:
    set_up(page, empty)
    page.goto(empty.url)
    make_sequence(page)
    menu(page, "Leads")
    press(page, "Add a lead")
    page.get_by_label("E-mail address").fill("grace@shop.example")
    page.get_by_label("First name").fill("Grace")
    page.locator("main button[type=submit]").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Grace")
    press(page, "Sequences")
    page.get_by_label("Sequence", exact=True).select_option("Welcome")
    press(page, "Start")
    office = Office(empty)
    office.settle()
    office.close()
    menu(page, "Test mailbox")
    with page.expect_navigation():
        page.get_by_role("link", name="Hello Grace").click()
    expect(page.frame_locator(".letter-frame").locator("em")).to_have_text("Grace")
