"""Every page in a real browser, with an account that is full: by the table of pages."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import httpx
import pytest
from addresses import found
from cast import PASSWORD, Cast, Person
from filled import HOSTILE, LONG, fill, furnish
from playwright.sync_api import Browser, BrowserContext, Page, expect

from browser import Watched
from cartwheel.people import RIGHTS, Role
from cartwheel.ui import site
from cartwheel.ui.pages import PAGES
from harness import Api, Server

LOOKS: tuple[tuple[int, Literal["light", "dark"]], ...] = ((1280, "light"), (390, "dark"))
"""Each width and each scheme once: width decides what is beside what, the scheme what can be read."""

FIRST_LOAD = 250_000
LATER_LOAD = 30_000

SEEN = sorted(path for path, post in PAGES if not post and "{token}" not in path)
"""Pages that are opened by a link that works once are walked in `test_tutorial`."""

LISTS = "/communication/lists"


@dataclass(frozen=True)
class Shown:
    """A full account, its owner, and where each page is found."""

    api: Api
    boss: Person
    context: BrowserContext
    outside: BrowserContext
    """Of somebody who is not signed in, as are the `strangers`."""
    strangers: httpx.Client
    addresses: dict[str, str]


@pytest.fixture(scope="module")
def full(browser: Browser, shown: Server) -> Iterator[Shown]:
    api = fill(shown)
    with Cast(api) as cast:
        boss = cast.person(Role.OWNER)
        by_form = furnish(api, boss)
        context, outside = browser.new_context(), browser.new_context()
        enter(context, boss)
        shown_at = {path: address for (path, post), address in found(boss, PAGES).items() if not post}
        yield Shown(api, boss, context, outside, cast.visitor(), shown_at | by_form)
        context.close()
        outside.close()


def enter(context: BrowserContext, person: Person) -> None:
    context.add_cookies(
        [
            {
                "name": site.cookie_name(str(person.http.base_url)),
                "value": person.cookie,
                "url": str(person.http.base_url),
            }
        ]
    )


def is_page(answer: httpx.Response) -> bool:
    """And no file, and no mail for a sandboxed frame: that is seen within the page around it."""
    return "<html" in answer.text and "sandbox" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", SEEN)
def test_a_page_is_for_every_screen_and_everybody(full: Shown, pytestconfig: pytest.Config, path: str) -> None:
    assert path in full.addresses, "no page has a link to it"
    open_to_all = PAGES[path, False].open
    answer = full.strangers.get(path) if open_to_all else full.boss.get(full.addresses[path])
    if not is_page(answer):
        pytest.skip("this is no page to look at")
    page = (full.outside if open_to_all else full.context).new_page()
    watched = Watched(page, pytestconfig)
    page.goto(full.api.server.url + full.addresses[path], wait_until="networkidle")
    faults = []
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        faults += [f"{width} {scheme}: {fault}" for fault in watched.faults()]
    assert faults == []
    assert page.evaluate("window.hacked === undefined")
    page.close()


@pytest.mark.parametrize("role", Role)
def test_every_role_opens_its_pages_without_a_fault(
    full: Shown, browser: Browser, pytestconfig: pytest.Config, role: Role
) -> None:
    with Cast(full.api) as cast:
        somebody = cast.person(role)
        context = browser.new_context(viewport={"width": 390, "height": 900})
        enter(context, somebody)
        page = context.new_page()
        watched = Watched(page, pytestconfig)
        opened, wide = 0, []
        for path, address in full.addresses.items():
            right = PAGES[path, False].right
            if PAGES[path, False].open or (right is not None and right not in RIGHTS[role]):
                continue
            answer = somebody.get(address)
            assert answer.status_code < 400, (path, answer.status_code)
            if not is_page(answer):
                continue
            page.goto(full.api.server.url + address, wait_until="networkidle")
            opened += 1
            if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                wide.append(path)
        assert watched.complaints == []
        assert wide == []
        assert opened > 15
        context.close()


# -- how much they load --


def weight(page: Page, address: str) -> int:
    """The bytes that came over the wire."""
    sizes: list[int] = []

    def add(request: object) -> None:
        sizes.append(request.sizes()["responseBodySize"])  # type: ignore[attr-defined] # Playwright's

    page.on("requestfinished", add)
    page.goto(address, wait_until="networkidle")
    page.remove_listener("requestfinished", add)
    return sum(sizes)


def test_pages_are_light(browser: Browser, full: Shown) -> None:
    context = browser.new_context()
    enter(context, full.boss)
    page = context.new_page()
    url = full.api.server.url
    first = weight(page, f"{url}/")
    assert first < FIRST_LOAD
    heavy = {}
    for path, address in full.addresses.items():
        if not is_page(full.boss.get(address)):
            continue
        size = weight(page, url + address)
        if size >= LATER_LOAD and first + size < FIRST_LOAD:  # it has a tool of its own, which comes but once
            size = weight(page, url + address)
        if size >= LATER_LOAD:
            heavy[path] = size
    context.close()
    assert heavy == {}


# -- hostile names --


def test_hostile_names_stand_there_as_they_are(full: Shown) -> None:
    page = full.context.new_page()
    page.goto(full.api.server.url + LISTS)
    for name in HOSTILE:
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    page.get_by_role("link", name=LONG[:200], exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(LONG[:200])
    page.close()


# -- by hand --


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_the_main_path(browser: Browser, full: Shown, scripts: bool) -> None:  # noqa: FBT001 - pytest's
    context = browser.new_context(java_script_enabled=scripts, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(full.api.server.url + LISTS)
    page.get_by_label("E-mail address").fill(full.boss.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Lists")
    page.locator("#f-name").fill("Gardeners")
    page.get_by_role("button", name="Make the list").click()
    expect(page.get_by_role("status")).to_contain_text("The list Gardeners is there.")
    page.get_by_role("searchbox").fill("garden")
    page.get_by_role("searchbox").press("Enter")
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name="Gardeners").click()
    page.locator("#f-name").fill("Growers")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Growers").click()
    page.get_by_role("button", name="Delete the list").click()
    expect(page.get_by_role("link", name="Growers")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("is back")
    page.get_by_role("link", name="Growers").click()
    page.get_by_role("button", name="Delete the list").click()
    page.get_by_label("Menu").click()
    page.locator(".who summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    context.close()


def test_search_answers_while_it_is_typed(full: Shown) -> None:
    page = full.context.new_page()
    page.goto(full.api.server.url + LISTS)
    page.get_by_role("searchbox").press_sequentially("newsl")
    expect(page.get_by_role("row")).to_have_count(2)
    page.close()
