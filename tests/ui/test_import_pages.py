"""Importing leads on the page."""

import pytest
from cast import Cast, Person
from playwright.sync_api import Browser, expect

from cartwheel.data import schema
from cartwheel.data.importtables import import_slices, import_templates, imports
from cartwheel.imports.running import ImportRunner
from cartwheel.people import Role
from cartwheel.ui import forgery, site
from harness import Api, Server, new_api

TEXT = "Email,First Name,Tags,Notiz\nada@shop.example,Ada,Customer,x\nbob@shop.example,Bob,Nope,y\nnobody,,,\n"


def upload(boss: Person, text: str = TEXT, **fields: str) -> str:
    files = {"file": ("leads.csv", text.encode(), "text/csv")}
    data = {"csrf": forgery.token(boss.cookie), **fields}
    answer = boss.http.post("/leads/import", data=data, files=files)
    assert answer.is_redirect, answer.text
    return answer.headers["location"]


def finish(api: Api) -> None:
    """As a worker does it."""

    async def rounds() -> None:
        runner = ImportRunner(api.server.database, clock=api.server.clock)
        while await runner.round():
            pass
        await runner.close()

    api.server.run(rounds)


COLUMNS = {"column0": "email", "column1": "first_name", "column2": "tags", "column3": "notes"}


def test_a_file_is_tried_out_imported_and_taken_back(boss: Person, api: Api) -> None:
    page = upload(boss)
    assert 'value="first_name" selected' in boss.get(page).text
    boss.post(page, **COLUMNS, do="check", save="Mine")
    finish(api)
    shown = boss.get(page).text
    assert "New: 1" in shown
    assert "there is no tag Nope" in shown
    assert api.rows(schema.leads) == []
    boss.post(page, **COLUMNS, do="run", batch_tag="Batch", make="on")
    finish(api)
    shown = boss.get(page).text
    assert "3 of 3 rows" in shown
    assert "nobody is no e-mail address" in shown
    assert len(api.rows(schema.leads)) == 2
    assert api.rows(import_slices)[0]["rows"] == b"", "the file is thrown away"
    assert "nobody" in boss.get(f"{page}/refused").text
    assert [row["name"] for row in api.rows(import_templates)] == ["Mine"]
    boss.post(f"{page}/undo")
    finish(api)
    assert "2 leads are as before" in boss.get(page).text
    assert api.rows(schema.leads) == []


def test_a_file_that_is_none_is_refused_where_it_was_chosen(boss: Person, api: Api) -> None:
    for text, told in (("", "the file is empty"), ("PK\x03\x04", "Excel"), ("Email\n", "no rows")):
        files = {"file": ("leads.csv", text.encode(), "text/csv")}
        answer = boss.http.post("/leads/import", data={"csrf": forgery.token(boss.cookie)}, files=files)
        assert answer.status_code == 422
        assert told in answer.text
    assert api.rows(imports) == []


def test_without_addresses_nothing_is_begun(boss: Person, api: Api) -> None:
    page = upload(boss)
    answer = boss.post(page, column1="first_name", do="run")
    assert answer.status_code == 422
    assert "no column of the file holds e-mail addresses" in answer.text
    assert api.rows(imports)[0]["state"] == "draft"


def test_a_large_file_of_somebody_who_may_not_is_not_even_read(cast: Cast) -> None:
    viewer = cast.person(Role.VIEWER)
    files = {"file": ("leads.csv", b"x" * 3_000_000, "text/csv")}
    for http in (viewer.http, cast.visitor()):
        assert http.post("/leads/import", data={"csrf": "x"}, files=files).status_code == 403


def test_an_import_is_stopped_and_goes_on(boss: Person, api: Api) -> None:
    page = upload(boss)
    boss.post(page, **COLUMNS, do="run")
    boss.post(f"{page}/stop")
    finish(api)
    assert api.rows(schema.leads) == []
    boss.post(f"{page}/resume")
    finish(api)
    assert api.rows(imports)[0]["state"] == "finished"
    other = upload(boss)
    boss.post(f"{other}/drop")
    assert boss.get(other).status_code == 404


@pytest.fixture
def own(shown: Server) -> Api:
    return new_api(shown)


def test_in_a_browser(chromium: Browser, own: Api) -> None:
    """From the leads, with nothing but clicks; the page itself notices that it is done."""
    with Cast(own) as cast:
        boss = cast.person(Role.OWNER)
        context = chromium.new_context()
        context.add_cookies([{"name": site.cookie_name(own.server.url), "value": boss.cookie, "url": own.server.url}])
        page = context.new_page()
        page.goto(f"{own.server.url}/leads")
        page.get_by_role("link", name="Import", exact=True).click()
        page.get_by_label("CSV or TXT").set_input_files(
            {"name": "leads.csv", "mimeType": "text/csv", "buffer": TEXT.encode()}
        )
        page.get_by_role("button", name="Look at it").click()
        page.get_by_role("button", name="Try it out").click()
        finish(own)
        expect(page.get_by_text("New: 1")).to_be_visible()
        page.get_by_role("button", name="Import 3 rows").click()
        expect(page.get_by_text("Being imported.")).to_be_visible()
        finish(own)
        expect(page.get_by_role("button", name="Take it back")).to_be_visible()
        context.close()
    assert len(own.rows(schema.leads)) == 1
