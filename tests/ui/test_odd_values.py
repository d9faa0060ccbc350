"""Whatever is sent to a page, it answers; no value makes it fail."""

import re
from urllib.parse import quote

import pytest
from cast import Cast

from cartwheel.people import Role
from cartwheel.ui.pages import PAGES

NUL = "a\0b"
HUGE = "9" * 20
FIELDS = [
    "name",
    "email",
    "password",
    "code",
    "q",
    "text",
    "subject",
    "source",
    "body",
    "filter",
    "act",
    "tag",
    "list",
    "field",
    "points",
    "note",
    "address",
    "domain",
    "url",
    "until",
    "after",
    "since",
    "before",
    "page",
    "key",
    "kind",
    "lang",
    "next",
    "title",
    "value",
    "from",
    "to",
    "length",
    "server",
    "state",
    "sequence",
    "step",
    "box",
    "request_id",
    "app",
    "digest",
    "token",
    "mail",
    "who",
    "role",
    "timezone",
    "public_name",
    "description",
    "folder",
    "preview",
]
_NUMBER = re.compile(r"\{\w+:int\}")
_TEXT = re.compile(r"\{\w+\}")


@pytest.mark.parametrize("odd", [NUL, HUGE, "//["])
def test_no_odd_value_makes_a_page_fail(cast: Cast, odd: str) -> None:
    failed = []
    boss = cast.person(Role.OWNER)
    for entry in PAGES.values():
        if entry.path.endswith("signout"):
            continue
        for number in ("1", HUGE):
            path = _TEXT.sub(quote(odd, safe=""), _NUMBER.sub(number, entry.path))
            sent = dict.fromkeys(FIELDS, odd)
            answer = boss.post(path, **sent) if entry.post else boss.http.get(path, params=sent)
            if answer.status_code >= 500:
                failed.append((entry.path, entry.post, number, answer.status_code))
            if "{" not in entry.path:
                break
    assert not failed


@pytest.mark.parametrize(
    "path",
    [
        '/leads?filter={"type":"field","field":"7777777777777777777777","text":"a"}',
        '/leads?filter={"type":"field","field":"²","text":"a"}',
        "/leads/bulk/99999999999999999999",
        "/mail/99999999999999999999/1",
        "/signin?next=//[",
        "/leads?q=%00",
    ],
)
def test_no_odd_address_makes_a_page_fail(cast: Cast, path: str) -> None:
    for http in (cast.person(Role.OWNER).http, cast.visitor()):
        assert http.get(path).status_code < 500
