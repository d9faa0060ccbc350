"""What every answer forbids, also those that are no page."""

from collections.abc import Iterator

import httpx
import pytest
from cast import Cast, Person

from cartwheel.people import Role
from cartwheel.ui import site
from conftest import Databases
from harness import Server


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/leads", 405)])
def test_who_goes_astray_gets_the_headers_of_a_page(cast: Cast, method: str, path: str, status: int) -> None:
    answer = cast.visitor().request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-security-policy"] == site.HEADERS["Content-Security-Policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" not in answer.headers


@pytest.fixture
def by_https(databases: Databases) -> Iterator[str]:
    """The address of a server that everybody reaches by way of a proxy with TLS."""
    way = {"CARTWHEEL_PUBLIC_URL": "https://cartwheel.example", "CARTWHEEL_TRUSTED_PROXIES": "127.0.0.1"}
    server = Server(databases.new("sqlite"), way)
    yield server.url
    server.stop()


def test_browsers_stay_with_https_also_where_nothing_is(by_https: str) -> None:
    for path in ("/nowhere", "/signin"):
        answer = httpx.get(by_https + path)
        assert answer.headers["strict-transport-security"].startswith("max-age="), path


def test_by_https_the_cookie_belongs_to_this_host_alone(by_https: str) -> None:
    proxied = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9", "host": "cartwheel.example"}
    told = httpx.get(f"{by_https}/signin", headers=proxied).headers["set-cookie"]
    assert told.startswith("__Host-cartwheel=")
    assert {"Secure", "Path=/"} < set(told.split("; "))
    assert "Domain" not in told


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://cartwheel.example/", "__Host-cartwheel"),
        ("http://127.0.0.1:8000/", "cartwheel-8000"),
        ("http://cartwheel.example/", "cartwheel"),
        ("http://[nonsense:port/", "cartwheel"),
    ],
)
def test_servers_on_one_machine_do_not_share_their_cookies(url: str, name: str) -> None:
    assert site.cookie_name(url) == name


def test_a_failure_tells_no_details(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret detail")

    person: Person = cast.person(Role.OWNER)
    monkeypatch.setattr(site.Site, "_page", fail)
    answer = person.get("/leads")
    assert answer.status_code == 500
    assert "went wrong" in answer.text
    assert "detail" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
