"""A real browser, and people in front of the pages."""

import os
import shutil
from collections.abc import Iterator

import pytest
from cast import Cast, Person
from playwright.sync_api import Browser, sync_playwright

from cartwheel.data import catalog, installation, userstore
from cartwheel.people import Role
from cartwheel.ui import site
from harness import Api

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def cast(api: Api) -> Iterator[Cast]:
    """Makes people in front of the account's pages."""
    with Cast(api) as cast:
        yield cast


@pytest.fixture
def boss(cast: Cast) -> Person:
    """The account's owner."""
    return cast.person(Role.OWNER)


@pytest.fixture
def leader(boss: Person, api: Api) -> Iterator[Person]:
    """An owner of the installation's first account, too; afterwards there are no mail servers again."""
    server = api.server
    with server.database.write() as connection:
        first = min(catalog.account_numbers(connection))
        userstore.put_member(connection, first, boss.user_id, Role.OWNER, server.clock())
        with_cookie = userstore.open_session(connection, boss.user_id, first, server.clock(), "127.0.0.1", "tests")
    boss.http.cookies.set(site.COOKIE, with_cookie)
    boss.cookie = with_cookie
    yield boss
    with server.database.write() as connection:
        userstore.remove_member(connection, first, boss.user_id)
        installation.put_mail_servers(connection, "")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's, or the one that the variable CHROMIUM names; with REQUIRE_BROWSER set, it has to be there."""
    if CHROMIUM is None and not os.environ.get("REQUIRE_BROWSER"):
        pytest.skip("there is no Chromium: install it, or name it in the variable CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        yield browser
        browser.close()
