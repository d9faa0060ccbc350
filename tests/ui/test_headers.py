"""What every answer forbids, also those that are no page."""

import pytest
from cast import Cast, Person

from cartwheel.people import Role
from cartwheel.ui import site


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/leads", 405)])
def test_who_goes_astray_gets_the_headers_of_a_page(cast: Cast, method: str, path: str, status: int) -> None:
    answer = cast.visitor().request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-security-policy"] == site.HEADERS["Content-Security-Policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" not in answer.headers


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
