"""The test mailbox and the suppressed addresses on the pages."""

from collections.abc import Iterator

import pytest
from cast import Cast, Person
from shop import MailShop, opened

from cartwheel.data import schema
from cartwheel.people import Role
from harness import Server

ADA = "ada@shop.example"


@pytest.fixture
def shop(server: Server) -> Iterator[MailShop]:
    with opened(server) as shop:
        yield shop


@pytest.fixture
def owner_of(shop: MailShop, cast: Cast) -> Person:
    return cast.person(Role.OWNER, shop.api)


def test_what_would_have_been_sent_can_be_read_and_saved(shop: MailShop, owner_of: Person, boss: Person) -> None:
    assert "Nothing here yet" in owner_of.get("/mail/test").text
    shop.start(ADA)
    page = owner_of.get("/mail/test").text
    assert "Hello you" in page
    path = shop.path(ADA).replace("/mail/", "/mail/test/")
    assert path in page
    assert ADA in owner_of.get(path).text
    assert "Hello you" in owner_of.get(f"{path}?show=text").text
    source = owner_of.get(f"{path}/source")
    assert source.content.startswith((b"Date:", b"DKIM"))
    assert source.headers["content-disposition"].startswith("attachment")
    assert owner_of.get(f"{path}/files/0").status_code == 404
    for part in ("", "/frame", "/source"):
        assert boss.get(path + part).status_code == 404


def test_it_is_emptied_for_good(shop: MailShop, owner_of: Person) -> None:
    shop.start(ADA)
    owner_of.post("/mail/test/empty")
    assert "1 mail is thrown away." in owner_of.get("/mail/test").text
    assert shop.api.rows(schema.test_mailbox) == []


def suppression(shop: MailShop, email: str) -> str:
    return "".join(row["reason"] for row in shop.api.rows(schema.suppressions, email=email))


@pytest.mark.parametrize("is_lead", [True, False])
def test_an_address_is_suppressed_and_allowed_again(shop: MailShop, owner_of: Person, *, is_lead: bool) -> None:
    if is_lead:
        shop.api.create(ADA)
    assert "Everybody may be mailed" in owner_of.get("/mail/suppressed").text
    assert owner_of.post("/mail/suppressed", email="nobody").status_code == 422
    owner_of.post("/mail/suppressed", email=ADA.upper(), details="she called")
    page = owner_of.get("/mail/suppressed").text
    assert "she called" in page
    assert "Undo" in page
    assert suppression(shop, ADA) == "do not contact"
    assert owner_of.post("/mail/suppressed/allow", email=ADA).status_code == 422
    owner_of.post("/mail/suppressed/allow", email=ADA, asked="by letter")
    assert suppression(shop, ADA) == ""
    assert any("by letter" in entry["subject"] for entry in shop.api.rows(schema.audit_log))
    owner_of.post("/mail/suppressed", email=ADA, reason="hard bounce", details="550 gone")
    assert owner_of.post("/mail/suppressed/allow", email=ADA).status_code == 303
    assert suppression(shop, ADA) == ""


def test_undoing_brings_the_reason_back(shop: MailShop, owner_of: Person) -> None:
    shop.api.create(ADA)
    owner_of.post("/mail/suppressed", email=ADA, reason="hard bounce", details="550 gone")
    owner_of.post("/mail/suppressed/allow", email=ADA)
    page = owner_of.get("/mail/suppressed").text
    assert 'value="hard bounce"' in page
    owner_of.post("/mail/suppressed", email=ADA, reason="hard bounce", details="550 gone")
    [row] = shop.api.rows(schema.suppressions)
    assert (row["reason"], row["details"]) == ("hard bounce", "550 gone")


def test_addresses_are_found_by_how_they_begin(owner_of: Person, boss: Person) -> None:
    for email in (ADA, "alan@shop.example", "grace@shop.example"):
        owner_of.post("/mail/suppressed", email=email)
    owner_of.get("/mail/suppressed")
    page = owner_of.get("/mail/suppressed?address=al").text
    assert ("alan@" in page, ADA in page) == (True, False)
    assert "alan@" not in owner_of.get("/mail/suppressed?reason=complaint").text
    assert "alan@" not in boss.get("/mail/suppressed").text
    assert boss.get("/mail/suppressed/allow?email=alan@shop.example").status_code == 404
