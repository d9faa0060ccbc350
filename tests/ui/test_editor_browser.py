"""The editors of a mail in a real Chromium: its source in colours, and its MJML visually."""

import pytest
from cast import Person
from playwright.sync_api import Browser, Page, expect

from browser import Watched
from cartwheel.data import draftstore
from cartwheel.sequences.steps import EmailStep
from cartwheel.ui import site
from harness import Api

HERE = "/communication/sequences"

MJML = """<mjml>
<mj-head><mj-attributes><mj-all font-family="Georgia, serif" /></mj-attributes><mj-title>Hello</mj-title></mj-head>
<mj-body background-color="#f4f4f4">
<mj-section>
<mj-column>
<mj-text font-size="20px">Hello {first_name|there}</mj-text>
<mj-button href="https://shop.example/?mail={email_address}&amp;from=mail">Open the shop</mj-button>
<mj-divider border-color="#cccccc" />
<mj-text><a href="{unsubscribe_link}">Leave</a></mj-text>
</mj-column>
</mj-section>
</mj-body>
</mjml>"""


def a_mail(boss: Person, kind: str, body: str) -> str:
    """The page of a step that is a mail."""
    made = boss.post(HERE, name=f"Mails in {kind}", public_name="", template="empty", entry="1", again="on")
    edit = str(made.headers["location"])
    fields = {"type": "email", "after": "start", "box": "1", "active": "on", "subject": "Hi", "kind": kind}
    assert boss.post(f"{edit}/add", **fields, body=body).status_code == 303
    return f"{edit}/step/1"


def stored(api: Api, path: str) -> EmailStep:
    with api.server.database.read() as connection:
        draft = draftstore.read(connection, api.account_id, int(path.split("/")[3]))
    assert draft is not None
    step = draft.by_box["1"]
    assert isinstance(step, EmailStep)
    return step


def enter(browser: Browser, boss: Person, api: Api, path: str) -> Page:
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    context.add_cookies([{"name": site.cookie_name(api.server.url), "value": boss.cookie, "url": api.server.url}])
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(api.server.url + path)
    return page


def test_a_mail_is_drawn_visually_and_saved(
    chromium: Browser, boss: Person, api: Api, pytestconfig: pytest.Config
) -> None:
    path = a_mail(boss, "mjml", MJML)
    page = enter(chromium, boss, api, path)
    watched = Watched(page, pytestconfig)
    page.get_by_role("button", name="Edit visually").click()
    expect(page.locator("html[data-visual=ready]")).to_be_visible(timeout=30_000)
    canvas = page.frame_locator("iframe.gjs-frame")
    expect(canvas.get_by_text("Open the shop")).to_be_visible()
    canvas.get_by_text("Hello {first_name|there}").dblclick()
    page.keyboard.press("End")
    page.keyboard.type(", good day")
    page.get_by_role("button", name="Text", exact=True).press("Enter")
    assert watched.faults() == []
    expect(canvas.locator("[data-gjs-type=mj-text]")).to_have_count(3)
    page.get_by_role("button", name="Save in the draft").click()
    expect(page.locator("body")).to_contain_text("Saved in the draft")
    frame = page.frame_locator(".preview-frame iframe:last-of-type")
    expect(frame.locator("body")).to_contain_text("Hello Ada, good day")
    assert watched.complaints == []
    mjml = stored(api, path).mjml
    assert mjml is not None
    assert "Hello {first_name|there}, good day" in mjml
    assert '<mj-all font-family="Georgia, serif" />' in mjml
    assert 'href="https://shop.example/?mail={email_address}&' in mjml
    assert '<a href="{unsubscribe_link}">Leave</a>' in mjml
    assert mjml.count("<mj-text") == 3
    page.context.close()


def test_what_could_act_on_the_page_is_not_drawn(chromium: Browser, boss: Person, api: Api) -> None:
    bad = '<script>top.x=1</script><form action="/x"><input name="a"></form><a target="_top" onclick="top.x=1" href="/y">Go</a>'
    path = a_mail(boss, "mjml", MJML.replace("Hello {first", f"{bad} Hello {{first"))
    page = enter(chromium, boss, api, path)
    page.get_by_role("button", name="Edit visually").click()
    expect(page.locator("html[data-visual=ready]")).to_be_visible(timeout=30_000)
    canvas = page.frame_locator("iframe.gjs-frame")
    expect(canvas.get_by_text("Open the shop")).to_be_visible()
    expect(canvas.get_by_text("Go", exact=True)).to_be_visible()
    for what in ("[data-gjs-type] script", "form", "[onclick]", "[target=_top]"):
        expect(canvas.locator(what)).to_have_count(0)
    page.context.close()


def test_raw_html_is_kept_but_not_drawn(chromium: Browser, boss: Person, api: Api) -> None:
    raw = '<mj-raw><style>* { display: none }</style><img title=">" src="/x.png" onerror="top.x=1"></mj-raw>'
    path = a_mail(boss, "mjml", MJML.replace("<mj-divider", f"{raw}<mj-divider"))
    page = enter(chromium, boss, api, path)
    page.get_by_role("button", name="Edit visually").click()
    expect(page.locator("html[data-visual=ready]")).to_be_visible(timeout=30_000)
    canvas = page.frame_locator("iframe.gjs-frame")
    expect(canvas.get_by_text("Open the shop")).to_be_visible()
    expect(canvas.get_by_text("Raw HTML")).to_be_visible()
    expect(canvas.locator("img[title]")).to_have_count(0)
    page.get_by_role("button", name="Save in the draft").click()
    expect(page.locator("body")).to_contain_text("Saved in the draft")
    assert raw in (stored(api, path).mjml or "")
    page.context.close()


def test_the_source_is_written_in_colours_and_merge_fields_come_from_the_list(
    chromium: Browser, boss: Person, api: Api, pytestconfig: pytest.Config
) -> None:
    path = a_mail(boss, "html", "<p>Hello</p>")
    page = enter(chromium, boss, api, path)
    watched = Watched(page, pytestconfig)
    body = page.get_by_label("Body", exact=True)
    assert body.evaluate("field => field.isContentEditable")
    assert body.locator("span", has_text="p").count()
    body.press("Control+End")
    page.keyboard.type("<p>Dear {first")
    page.get_by_role("option", name="{first_name}").click()
    page.keyboard.type("</p>")
    frame = page.frame_locator(".preview-frame iframe:last-of-type")
    expect(frame.locator("body")).to_contain_text("Dear Ada")
    assert watched.faults() == []
    page.get_by_text("What can stand in braces").click()
    page.get_by_role("button", name="{city}").click()
    page.get_by_role("button", name="Save and stay").click()
    expect(page.locator("body")).to_contain_text("Saved in the draft")
    assert stored(api, path).html == "<p>Hello</p><p>Dear {first_name}</p>{city}"
    page.context.close()


def test_markdown_becomes_a_design_and_nothing_is_lost_on_the_way_back(
    chromium: Browser, boss: Person, api: Api
) -> None:
    path = a_mail(boss, "markdown", "# Hello {first_name|there}")
    page = enter(chromium, boss, api, path)
    page.get_by_label("Subject").fill("Another")
    page.get_by_role("button", name="Edit visually").click()
    expect(page.locator("html[data-visual=ready]")).to_be_visible(timeout=30_000)
    expect(page.frame_locator("iframe.gjs-frame").locator("h1")).to_have_text("Hello {first_name|there}")
    page.get_by_role("button", name="Back to the form").click()
    expect(page.get_by_label("Subject")).to_have_value("Another")
    expect(page.get_by_label("Written as")).to_have_value("mjml")
    page.get_by_role("button", name="Save in the draft").click()
    expect(page.locator("body")).to_contain_text("Step 1 is changed")
    step = stored(api, path)
    assert step.subject == "Another"
    assert "<h1>Hello {first_name|there}</h1>" in (step.mjml or "")
    page.context.close()
