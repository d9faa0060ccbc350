"""The stranger's path of docs/tutorial/first-sequence.md, step by step, in a real browser, at the command itself."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from running import DEADLINE_S, Cartwheel

TUTORIAL = Path(__file__).parent.parent.parent.joinpath("docs", "tutorial", "first-sequence.md").read_text()
STEPS = 11


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Cartwheel]:
    """`cartwheel serve` where there is nothing yet, with its worker."""
    with Cartwheel("serve", port=0, database=f"sqlite:///{tmp_path}/cartwheel.db", worker="yes") as running:
        yield running
        assert running.stop() == 0


class Stranger:
    """Does what the tutorial says, in its words and in no others, and waits for what follows from it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._steps = iter(range(1, STEPS + 1))
        self._part = ""

    def reads(self, title: str) -> None:
        """The next step; everything up to the one after it has to stand in it."""
        number = next(self._steps)
        found = re.search(rf"^## {number}\. {re.escape(title)}\n(.*?)(?=^## )", TUTORIAL, re.MULTILINE | re.DOTALL)
        assert found, title
        self._part = re.sub(r"\s+", " ", found[1])

    def press(self, name: str) -> None:
        """A button or link that leads to another page."""
        self._named(f"**{name}**")
        buttons = self.page.get_by_role("button", name=name, exact=True)
        target = buttons.or_(self.page.get_by_role("link", name=name, exact=True)).first
        with self.page.expect_navigation():
            target.click()

    def fills(self, label: str, text: str, *, told: bool = True) -> None:
        if told:
            self._named(f"`{text}`")
        self.page.get_by_label(label, exact=True).first.fill(text)

    def follows(self, text: str) -> None:
        """A link that is called as what was made."""
        with self.page.expect_navigation():
            self.page.locator("main").get_by_role("link", name=text).first.click()

    def sees(self, text: str) -> Locator:
        place = self.page.locator("main").get_by_text(text).first
        expect(place).to_be_visible()
        return place

    def waits_for(self, text: str) -> None:
        """What comes without anything being pressed: the page is looked at again and again."""
        deadline = time.monotonic() + DEADLINE_S
        while not self.page.locator("main").get_by_text(text).count():
            assert time.monotonic() < deadline, text
            self.page.reload()

    def _named(self, text: str) -> None:
        assert text in self._part, text


def test_a_stranger_gets_from_nothing_to_a_mail_that_was_sent(browser: Browser, serve: Cartwheel) -> None:
    assert [int(number) for number in re.findall(r"^## (\d+)\.", TUTORIAL, re.MULTILINE)] == list(range(1, STEPS + 1))
    context = browser.new_context(locale="en-GB", timezone_id="Europe/London", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(DEADLINE_S * 1000)
    stranger = Stranger(page)
    set_up(stranger, serve)
    lists_and_tags(stranger)
    sequence(stranger)
    credentials = lets_a_website_in(stranger)
    stranger.reads("A reader joins")
    url = f"http://{urlsplit(page.url).netloc}"
    answered = a_reader_joins(url, credentials)
    assert [next(iter(action.values()))["status"] for action in answered["actions"]] == ["Success"] * 3
    reads_mail(stranger)
    context.close()


def set_up(stranger: Stranger, serve: Cartwheel) -> None:
    stranger.reads("Start the server")
    stranger.reads("Say who you are")
    link = re.search(r"http://\S+/setup/[\w-]+", serve.wait_for("/setup/"))
    assert link
    stranger.page.goto(link[0])
    stranger.fills("Your name", "Ada Lovelace", told=False)
    stranger.fills("Your e-mail address", "ada@engines.example", told=False)
    stranger.fills("Password", "correct horse battery", told=False)
    stranger.fills("Your company or project", "Engines")
    assert stranger.page.locator("#f-zone").input_value() == "Europe/London"
    stranger.press("Continue")
    stranger.reads("Say who writes")
    assert stranger.page.get_by_label("Sender's address").input_value() == "ada@engines.example"
    stranger.fills("Postal address", "1 Example Road, London")
    stranger.press("Continue")
    stranger.reads("Keep mail here for now")
    stranger.press("Keep the test mailbox for now")
    expect(stranger.page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def lists_and_tags(stranger: Stranger) -> None:
    stranger.reads("Make a list")
    stranger.press("Lists")
    stranger.fills("Name", "Newsletter")
    stranger.fills("Public name", "Our monthly letter")
    stranger.press("Make the list")
    stranger.sees("Newsletter")
    stranger.reads("Make a tag")
    stranger.press("Tags")
    stranger.fills("Name", "Customer")
    stranger.press("Make the tag")
    stranger.follows("Customer")
    stranger.press("Delete the tag")
    stranger.press("Undo")
    stranger.sees("Customer")


def sequence(stranger: Stranger) -> None:
    page = stranger.page
    stranger.reads("Make a sequence")
    stranger.press("Sequences")
    stranger.fills("Name", "Welcome")
    page.get_by_label("Begin with").select_option(label="Nothing")
    stranger.press("Make the sequence")
    stranger.press("Add an e-mail")
    stranger.fills("Subject", "Welcome, {first_name|friend}")
    stranger.fills("Body", "Good to have you, {first_name|friend}.")
    preview = page.frame_locator(".preview-frame iframe:last-of-type")
    expect(preview.locator("body")).to_contain_text("Good to have you, Ada.")
    stranger.press("Add the step")
    stranger.press("Wait until")
    page.get_by_label("What is asked").select_option(label="has a tag")
    page.locator("[name='condition.tag']").select_option(label="Customer")
    page.locator("[name='timeout.amount']").fill("2")
    page.locator("[name='timeout.unit']").select_option(label="days")
    stranger.press("Add the step")
    stranger.press("E-mail")
    stranger.fills("Subject", "How is it going?")
    stranger.fills("Body", "Is there anything we can help with?")
    stranger.press("Add the step")
    stranger.reads("Publish it")
    stranger.sees("Nothing is wrong with it.")
    stranger.press("Publish …")
    stranger.press("Publish version 1")
    stranger.sees("Version 1 is published")


def lets_a_website_in(stranger: Stranger) -> list[str]:
    """What the curl of the tutorial has dots for, in their order."""
    page = stranger.page
    stranger.reads("Let your website in")
    stranger.press("Apps")
    stranger.press("Make the first App")
    stranger.fills("Name", "Website")
    stranger.press("Make the App")
    app_id = page.get_by_label("app_id", exact=True).input_value()
    stranger.press("API key")
    stranger.press("Make a new key")
    return [app_id, *(page.get_by_label(name, exact=True).input_value() for name in ("api_key", "api_password"))]


def a_reader_joins(url: str, credentials: list[str]) -> dict[str, list[dict[str, dict[str, str]]]]:
    """As the tutorial's curl says."""
    [command] = re.findall(r"^\$ (curl (?:.*\\\n)*.*)$", TUTORIAL, re.MULTILINE)
    for value in credentials:
        command = command.replace("=…", f"={value}", 1)
    command = command.replace("http://127.0.0.1:8080", url)
    said = subprocess.run(["sh", "-c", f"{command} --silent"], capture_output=True, text=True, check=True).stdout
    answer: dict[str, list[dict[str, dict[str, str]]]] = json.loads(said)
    return answer


def reads_mail(stranger: Stranger) -> None:
    page = stranger.page
    stranger.reads("Read her mail")
    stranger.press("Test mailbox")
    stranger.waits_for("Welcome, Ada")
    stranger.follows("Welcome, Ada")
    letter = page.frame_locator("main iframe").first
    expect(letter.locator("body")).to_contain_text("Good to have you, Ada.")
    expect(letter.locator("body")).to_contain_text("1 Example Road, London")
    stranger.press("Leads")
    stranger.follows("ada@shop.example")
    stranger.sees("Newsletter")
    stranger.press("Tags and lists")
    stranger.press("Give the tag")
    stranger.press("Test mailbox")
    stranger.waits_for("How is it going?")
