"""Who gets in where: every page, by the table of pages."""

import re
from collections.abc import Iterable, Iterator, Mapping

import httpx
import pytest
import sqlalchemy as sa
from _pytest.mark import ParameterSet
from addresses import Door, found
from cast import Cast, Person
from filled import fill, furnish

from cartwheel.data import catalogchanges, schema
from cartwheel.leads import acts
from cartwheel.people import RIGHTS, Right, Role
from cartwheel.ui import forgery
from cartwheel.ui.pages import PAGES
from cartwheel.ui.registry import Page
from harness import Server, new_api


def named(pages: Iterable[Page]) -> list[ParameterSet]:
    return [pytest.param(page, id=f"{'POST' if page.post else 'GET'} {page.path}") for page in pages]


ALL = named(PAGES.values())
INSIDE = named(page for page in PAGES.values() if not page.open)
OBJECTS = named(page for page in PAGES.values() if "{" in page.path and not page.open)
POSTS = named(page for page in PAGES.values() if page.post)

NOBODYS = "9999999"


@pytest.fixture(scope="module")
def cast(shown: Server, theirs: Mapping[Door, str]) -> Iterator[Cast]:  # noqa: ARG001 - it has to be the first account
    """Who gets in does not depend on the database."""
    with Cast(new_api(shown)) as cast:
        yield cast


@pytest.fixture
def boss(cast: Cast) -> Person:
    return cast.person(Role.OWNER)


@pytest.fixture
def somebody(cast: Cast) -> Mapping[Role, Person]:
    return {role: cast.person(role) for role in Role}


def address(page: Page) -> str:
    """The page's path with numbers and names that nothing has."""
    return re.sub(r"\{[^}]*\}", NOBODYS, page.path)


def visit(http: httpx.Client, page: Page, **fields: str) -> httpx.Response:
    return http.post(address(page), data=fields) if page.post else http.get(address(page))


@pytest.mark.parametrize("page", INSIDE)
def test_nobody_gets_in_without_signing_in(cast: Cast, page: Page) -> None:
    answer = visit(cast.visitor(), page)
    assert answer.status_code == (403 if page.post else 303)
    if not page.post:
        assert answer.headers["location"].startswith("/signin")


@pytest.mark.parametrize("page", INSIDE)
def test_a_role_opens_what_its_rights_allow(somebody: Mapping[Role, Person], page: Page) -> None:
    for role, person in somebody.items():
        answer = person.post(address(page)) if page.post else person.get(address(page))
        allowed = page.right is None or page.right in RIGHTS[role]
        assert (answer.status_code == 403) is not allowed, role
        assert answer.status_code < 500, role


@pytest.fixture(scope="module")
def theirs(shown: Server) -> Iterator[Mapping[Door, str]]:
    """The addresses of another account's pages: of the first one, whose people set the mail servers."""
    api = fill(shown)
    with Cast(api) as cast:
        boss = cast.person(Role.OWNER)
        by_form = furnish(api, boss)
        [segment] = api.rows(schema.segments)
        of_segment = {("/leads/segments/{number:int}", True): f"/leads/segments/{segment['id']}"}
        tokens = "/integrations/api/tokens"
        boss.post(tokens, name="Sync", rate_limit="20", days="0", scopes="leads:read")
        of_token = {(f"{tokens}/{{number:int}}/{verb}", True): f"{tokens}/1/{verb}" for verb in ("revoke", "restore")}
        by_form_too = {(path, False): address for path, address in by_form.items()}
        yield found(boss, PAGES) | by_form_too | of_segment | of_token


@pytest.fixture(scope="module")
def newcomer(shown: Server, theirs: Mapping[Door, str]) -> Iterator[Person]:  # noqa: ARG001 - as above
    """The owner of an account that has nothing, so that no number is by chance one of its own."""
    api = new_api(shown, file="[account]\n[[apps]]\nname = 'One'\n")
    with catalogchanges.changing(shown.database, api.account_id) as connection:
        connection.execute(sa.delete(schema.apps).filter_by(account_id=api.account_id))
    with Cast(api) as cast:
        yield cast.person(Role.OWNER)


@pytest.mark.parametrize("page", OBJECTS)
def test_what_another_account_has_is_not_there(theirs: Mapping[Door, str], newcomer: Person, page: Page) -> None:
    there = theirs.get((page.path, page.post)) or theirs.get((page.path, False)) or beside(theirs, page)
    answer = newcomer.post(there) if page.post else newcomer.get(there)
    if answer.is_redirect:
        answer = newcomer.get(answer.headers["location"])
    assert answer.status_code == 404, there


def beside(theirs: Mapping[Door, str], page: Page) -> str:
    """The address of a form that no page has at the moment: its object is that of the page it would stand on."""
    return next(
        address + page.path.removeprefix(path)
        for (path, _), address in theirs.items()
        if "{" in path and page.path.startswith(f"{path}/") and "{" not in page.path.removeprefix(path)
    )


@pytest.mark.parametrize("page", POSTS)
def test_a_form_without_its_token_changes_nothing(boss: Person, page: Page) -> None:
    assert visit(boss.http, page).status_code == 403
    assert visit(boss.http, page, csrf="0" * 96).status_code == 403


@pytest.mark.parametrize("page", POSTS)
def test_a_form_of_another_site_changes_nothing(boss: Person, page: Page) -> None:
    form = {"csrf": forgery.token(boss.cookie)}
    for sign in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        assert boss.http.post(address(page), data=form, headers=sign).status_code == 403


@pytest.mark.parametrize("page", ALL)
def test_every_page_forbids_what_it_does_not_need(boss: Person, page: Page) -> None:
    headers = visit(boss.http, page).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'; " in policy or "script-src" not in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_every_right_is_needed_by_a_page_or_an_act() -> None:
    assert {page.right for page in PAGES.values()} | {kind.right for kind in acts.KINDS.values()} >= set(Right)
