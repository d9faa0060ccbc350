"""The pages for those who get the mail, as they see them: in a browser, on a phone and on a desk, by day and by night."""

import email
import email.policy
import re
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
from office import Office
from playwright.sync_api import Browser, Page, expect
from runshop import ADA, MAIL, Shop
from sentmail import SentMail, send_mail
from sink import Sink

from browser import Watched
from cartwheel.data import schema
from commandline import Cartwheel
from conftest import Databases
from harness import DEMO, Server, new_api

WIDTHS = (390, 1280)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LONG = "Donaudampfschifffahrtsgesellschaftskapitänswitwen" * 4
ARABIC = "نشرة الأخبار الشهرية (2026)"

Act = Callable[[Page], None]


# -- how they look --


def press(name: str) -> Act:
    def act(page: Page) -> None:
        with page.expect_navigation():
            page.locator(f"button[value={name}]").click()

    return act


def unfold(page: Page) -> None:
    closed = page.locator("details:not([open]) > summary")
    while closed.count():
        closed.first.click()


def leave_the_sequence(page: Page) -> None:
    page.locator("input[name=sequence]").uncheck()


PAGES: dict[str, tuple[str, list[Act], str]] = {
    "asked": ("u", [], "Stop mails from Welcome?"),
    "stopped": ("u", [press("leave")], "You are unsubscribed"),
    "undone": ("u", [press("leave"), press("undo")], "You are subscribed again"),
    "preferences": ("p", [], "Your mails"),
    "unfolded": ("p", [unfold], "Delete my data"),
    "saved": ("p", [leave_the_sequence, press("save")], "You have left Welcome."),
    "left all": ("p", [press("leave_all"), unfold], "You get none of these now."),
    "came back": ("p", [press("leave_all"), press("undo")], "You get again what you got before."),
    "said never": ("p", [unfold, press("never"), unfold], "We will not contact you again."),
    "complained": ("p", [unfold, press("spam"), unfold], "We have noted your complaint"),
    "untracked": ("p", [unfold, press("untrack"), unfold], "You may record this"),
    "asked to erase": ("p", [unfold, press("delete")], "Delete everything that we know about you?"),
    "erased": ("p", [unfold, press("delete"), press("erase")], "Your data is deleted"),
    "invalid": ("x", [], "This link is not valid"),
}


def path(sent: SentMail, place: str) -> str:
    return {"u": sent.stop, "p": sent.preferences, "x": "/u/cut-off"}[place]


def look(browser: Browser, sent: SentMail, place: str, acts: list[Act], config: pytest.Config, locale: str) -> str:
    """What the page says, which is found without fault in both widths and schemes."""
    context = browser.new_context(locale=locale, viewport={"width": WIDTHS[0], "height": 800})
    watched = Watched(context.new_page(), config)
    page = watched.page
    page.goto(sent.api.server.url + path(sent, place))
    for act in acts:
        act(page)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert watched.faults() == [], (width, scheme)
    said = page.inner_text("body")
    context.close()
    return said


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_for_every_screen_and_everybody(
    browser: Browser, shown: Server, pytestconfig: pytest.Config, name: str
) -> None:
    account = {"name": f"Engines {name}", "mail": {"address": "1 Long Road\nSpringfield"}}
    sent = send_mail(new_api(shown, account=account))
    place, acts, says = PAGES[name]
    said = look(browser, sent, place, acts, pytestconfig, "en-GB")
    assert says in said
    assert place == "x" or said.endswith(f"Engines {name}\n\n1 Long Road\nSpringfield")


@pytest.mark.parametrize("name", ["asked", "stopped", "unfolded", "saved", "left all"])
def test_long_names_and_those_from_right_to_left_break_nothing(
    browser: Browser, shown: Server, pytestconfig: pytest.Config, name: str
) -> None:
    names = DEMO.replace('"Our monthly letter"', f'"{ARABIC}"').replace(
        '"Welcome"', f'"Welcome"\npublic_name = "{LONG}"'
    )
    account = {"name": f"{ARABIC} {name}", "mail": {"address": f"{LONG}\n{ARABIC}"}}
    sent = send_mail(new_api(shown, account=account, file=names))
    place, acts, _ = PAGES[name]
    said = look(browser, sent, place, acts, pytestconfig, "es-MX")
    assert ARABIC in said
    assert "Springfield" not in said


def test_whoever_has_only_a_keyboard_sees_where_they_are(browser: Browser, shown: Server) -> None:
    sent = send_mail(new_api(shown))
    page = browser.new_page()
    page.set_default_timeout(10_000)
    page.goto(shown.url + sent.preferences)
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    seen = []
    while True:
        page.keyboard.press("Tab")
        focused = page.locator("*:focus")
        if not focused.count():
            break
        style = focused.evaluate(
            "e => [getComputedStyle(e).outlineStyle, parseFloat(getComputedStyle(e).outlineWidth)]"
        )
        assert style == ["solid", 3], focused.evaluate("e => e.outerHTML")
        seen.append(focused.evaluate("e => e.value ?? e.tagName"))
    assert [value for value in seen if not value.isdigit()] == [
        "save", "leave_all", "SUMMARY", "never", "spam", "SUMMARY", "untrack", "data", "delete",
    ]  # fmt: skip
    page.close()


# -- what they do --


@pytest.fixture
def shop(engine: str, databases: Databases, cartwheel: Cartwheel) -> Iterator[tuple[Shop, Sink]]:
    """A shop that sends one mail to who starts in its sequence, and the server that takes it."""
    links = "<p>Hello</p><a href='{preferences_link}'>Your mails</a>, <a href='{unsubscribe_link}'>Stop</a>"
    server = Server(databases.migrated(engine))
    with Sink() as sink:
        office = Office(server, CARTWHEEL_SMTP=sink.url())
        yield Shop(office, cartwheel, {**MAIL, "html": links}, {**MAIL, "delay": "2 days"}), sink
        office.close()
    server.stop()


def test_a_reader_without_scripts_chooses_leaves_and_comes_back(browser: Browser, shop: tuple[Shop, Sink]) -> None:
    flow, sink = shop
    flow.start()
    choose, stop = (flow.api.server.url + path for path in links(sink.messages[0].data))
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()

    page.goto(choose)
    page.get_by_label("Flow").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("You have left Flow.")).to_be_visible()
    assert flow.run["status"] == "unsubscribed"
    page.get_by_role("button", name="Undo").click()
    assert flow.run["status"] == "active"

    page.goto(stop)
    assert flow.run["status"] == "active"
    page.get_by_role("button", name="Stop these mails").click()
    expect(page.get_by_role("heading")).to_have_text("You are unsubscribed")
    assert flow.run["status"] == "unsubscribed"
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading")).to_have_text("You are subscribed again")

    flow.pass_time(days=3)
    assert len(sink.messages) == 2
    assert [row["email"] for row in flow.api.rows(schema.leads)] == [ADA]
    context.close()


def links(message: bytes) -> list[str]:
    """The paths of the preferences and of leaving in a mail that arrived, in this order."""
    html = email.message_from_bytes(message, policy=email.policy.default).get_body(("html",))
    assert html is not None
    found = re.findall(r"https://mail\.shop\.example(/[pu]/[\w-]+)", html.get_content())
    assert [place[:3] for place in found] == ["/p/", "/u/"]
    return found
