"""A real browser, and people in front of the pages."""

from collections.abc import Iterator

import pytest
from cast import Cast, Person
from playwright.sync_api import Browser

from browser import chromium as running_browser
from cartwheel.data import catalog, installation, userstore
from cartwheel.people import Role
from cartwheel.ui import site
from conftest import Databases
from harness import Api, Server


@pytest.fixture
def cast(api: Api) -> Iterator[Cast]:
    """Makes people in front of the account's pages."""
    with Cast(api) as cast:
        yield cast


@pytest.fixture
def boss(cast: Cast) -> Person:
    """The account's owner."""
    return cast.person(Role.OWNER)


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Not for longer, because other tests have event loops of their own."""
    with running_browser(request.config) as running:
        yield running


@pytest.fixture(scope="module")
def chromium(browser: Browser) -> Browser:
    """The same."""
    return browser


@pytest.fixture(scope="module")
def shown(databases: Databases) -> Iterator[Server]:
    """A server for tests of how pages look, which does not depend on the database."""
    running = Server(databases.migrated("sqlite"))
    yield running
    running.stop()


@pytest.fixture
def leader(boss: Person, api: Api) -> Iterator[Person]:
    """An owner of the installation's first account, too; afterwards there are no mail servers again."""
    server = api.server
    with server.database.write() as connection:
        first = min(catalog.account_numbers(connection))
        userstore.put_member(connection, first, boss.user_id, Role.OWNER, server.clock())
        with_cookie = userstore.open_session(connection, boss.user_id, first, server.clock(), "127.0.0.1", "tests")
    boss.http.cookies.set(site.cookie_name(server.url), with_cookie)
    boss.cookie = with_cookie
    yield boss
    with server.database.write() as connection:
        userstore.remove_member(connection, first, boss.user_id)
        installation.put_mail_servers(connection, "")
