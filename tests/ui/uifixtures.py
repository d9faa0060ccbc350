"""A real browser, and people in front of the pages."""

from collections.abc import Iterator

import pytest
from cast import Cast, Person
from playwright.sync_api import Browser

from browser import chromium as running_browser
from cartwheel.people import Role
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
    running = Server(databases.new("sqlite"))
    yield running
    running.stop()
