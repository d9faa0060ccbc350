"""Sequences in a real Chromium: a mail written while its preview follows, and pages without fault."""

import pytest
from cast import Person
from playwright.sync_api import Browser, Page, expect

from browser import Watched
from cartwheel.ui import site
from harness import Api

HERE = "/communication/sequences"
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")

HOSTILE = "<script>alert(1)</script> 🎉 نشرة " + "x" * 160


def enter(browser: Browser, boss: Person, api: Api, *, scripts: bool = True) -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, java_script_enabled=scripts)
    context.add_cookies([{"name": site.cookie_name(api.server.url), "value": boss.cookie, "url": api.server.url}])
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(api.server.url + HERE)
    return page


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_sequence_with_one_mail_is_made_looked_at_and_published(
    chromium: Browser, boss: Person, api: Api, *, scripts: bool
) -> None:
    page = enter(chromium, boss, api, scripts=scripts)
    page.get_by_label("Name", exact=True).fill("First")
    page.get_by_label("Begin with").select_option("empty")
    page.get_by_role("button", name="Make the sequence").click()
    page.get_by_role("link", name="Add an e-mail").click()
    page.get_by_label("Subject").fill("Hello {first_name}")
    page.get_by_label("Body").fill("Good day, *{first_name}*.")
    if not scripts:
        page.get_by_role("button", name="Show", exact=True).click()
    frame = page.frame_locator(".preview-frame iframe:last-of-type")
    expect(frame.locator("em")).to_have_text("Ada")
    if scripts:
        expect(page.locator(".inbox-subject")).to_have_text("Hello Ada")
        page.get_by_label("Body").fill("Good day, **{first_name}**.")
        expect(frame.locator("strong")).to_have_text("Ada")
        page.get_by_label("Text", exact=True).check()
        expect(frame.locator("body")).to_contain_text("Good day")
        assert page.evaluate("history.length") <= 4  # a preview is no place to go back to
    page.get_by_role("button", name="Add the step").click()
    page.get_by_role("link", name="Publish …").click()
    page.get_by_role("button", name="Publish version 1").click()
    expect(page.locator("body")).to_contain_text("Version 1 is published")
    page.context.close()


def test_a_condition_shows_its_own_fields_when_it_is_chosen(chromium: Browser, boss: Person, api: Api) -> None:
    page = enter(chromium, boss, api)
    made = boss.post(HERE, name="Waits", public_name="", template="welcome", entry="1", again="on")
    page.goto(api.server.url + made.headers["location"] + "/add?type=wait_until")
    page.get_by_label("What is asked").select_option("has_tag")
    page.locator("[name='condition.tag']").select_option(index=1)
    page.get_by_role("button", name="Add the step").click()
    expect(page.locator("body")).to_contain_text("The lead has the tag")
    page.context.close()


def test_the_pages_are_without_fault(chromium: Browser, boss: Person, api: Api, pytestconfig: pytest.Config) -> None:
    made = boss.post(HERE, name=HOSTILE, public_name=HOSTILE, template="welcome", entry="1", again="on", days="30")
    edit = made.headers["location"]
    at = edit.removesuffix("/edit")
    boss.post(f"{edit}/add", type="go_to", after="3", box="4", to="A1", active="on")
    paths = [HERE, at, edit, f"{edit}/step/1", f"{edit}/step/4", f"{edit}/add", f"{at}/publish"]
    paths += [f"{edit}/add?type=wait_until", f"{edit}/add?type=random_split", f"{at}/simulate?length=60+days"]
    page = enter(chromium, boss, api)
    watched = Watched(page, pytestconfig)
    found: dict[object, list[str]] = {}
    for path in paths:
        page.goto(api.server.url + path)
        for width, scheme in zip(WIDTHS, SCHEMES, strict=True):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            found[path, width, scheme] = watched.faults()
    assert {place: faults for place, faults in found.items() if faults} == {}
    page.context.close()
