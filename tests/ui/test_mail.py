"""The ledger of mail on the pages."""

from collections.abc import Iterator

import pytest
from cast import Cast, Person
from shop import MailShop, opened

from cartwheel.data import mailledger, schema
from cartwheel.leads.mails import MailState
from cartwheel.people import Role
from harness import Server

ADA, GRACE, EDSGER = "ada@shop.example", "grace@shop.example", "edsger@shop.example"


@pytest.fixture
def shop(server: Server) -> Iterator[MailShop]:
    with opened(server) as shop:
        yield shop


@pytest.fixture
def owner_of(shop: MailShop, cast: Cast) -> Person:
    return cast.person(Role.OWNER, shop.api)


def doubt(shop: MailShop, *emails: str) -> None:
    for email in emails:
        shop.change(
            email, state="in doubt", next_at=None, sent_at=None, reply="the connection broke off", server="mx:25"
        )


def test_the_ledger_says_what_became_of_each_mail(shop: MailShop, owner_of: Person) -> None:
    shop.start(ADA)
    shop.start(GRACE, settle=False)
    page = owner_of.get("/mail").text
    assert "Taken by the test mailbox" in page
    assert "Goes out next" in page
    assert page.index(GRACE) < page.index(ADA)


def test_mails_are_called_by_their_subjects_and_what_happened_leads_to_them(shop: MailShop, owner_of: Person) -> None:
    shop.start(ADA)
    assert "Hello {first_name|you}" in owner_of.get("/mail").text
    lead = f"/leads/{shop.row(ADA)['lead_id']}"
    for tab in ("mail", "activity"):
        assert (
            f'<a href="{shop.path(ADA)}"><bdi>Hello {{first_name|you}}</bdi></a>'
            in owner_of.get(f"{lead}?tab={tab}").text
        )
    [sequence] = shop.api.rows(schema.sequences, name="Flow")
    assert f'<a href="/communication/sequences/{sequence["id"]}"><bdi>Flow</bdi></a>' in owner_of.get(lead).text


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("state=accepted", {ADA, GRACE}),
        ("state=in+doubt", {EDSGER}),
        ("seen=opened", {ADA}),
        ("seen=unopened", {GRACE}),
        ("state=accepted&seen=clicked", set()),
        ("address=gr", {GRACE}),
        ("address=gr%25", set()),
        ("server=mx:25", {EDSGER}),
        ("step=2", set()),
        ("until=2026-02-28", set()),
        ("sequence=999", set()),
        ("state=nonsense&since=yesterday&sequence=x&after=-1", {ADA, GRACE, EDSGER}),
    ],
)
def test_a_filter_shows_what_was_asked_for(shop: MailShop, owner_of: Person, asked: str, found: set[str]) -> None:
    shop.start(ADA, GRACE, EDSGER)
    shop.change(ADA, opened_at=shop.row(ADA)["sent_at"])
    doubt(shop, EDSGER)
    page = owner_of.get(f"/mail?{asked}", **{"hx-request": "true"}).text
    assert {email for email in (ADA, GRACE, EDSGER) if email in page} == found


@pytest.mark.own_server
def test_a_filter_shows_what_was_asked_for_by_days(shop: MailShop, owner_of: Person) -> None:
    """Mails are numbered by the clock, which goes on when other tests set it back."""
    shop.start(ADA)
    assert ADA in owner_of.get("/mail?since=2026-03-01&until=2026-03-01").text
    assert ADA not in owner_of.get("/mail?since=2026-03-02").text


def test_pages_of_the_ledger_leave_nothing_out(
    shop: MailShop, owner_of: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    emails = [f"lead{number}@shop.example" for number in range(5)]
    shop.start(*emails)
    shop.change(emails[0], opened_at=shop.row(emails[0])["sent_at"])
    monkeypatch.setattr(mailledger, "MOST_SCANNED", 2)
    path, pages = "/mail?seen=opened", []
    while path:
        pages.append(owner_of.get(path).text)
        path = pages[-1].partition('<p class="more"><a class="btn" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert len(pages) == 3
    assert [emails[0] in page for page in pages] == [False, False, True]


def test_a_mail_shows_its_story_and_its_reasons(shop: MailShop, owner_of: Person) -> None:
    shop.start(ADA)
    shop.change(ADA, opened_at=shop.row(ADA)["sent_at"])
    page = owner_of.get(shop.path(ADA)).text
    for told in ("Hello you", "Queued", "Taken by the test mailbox", "Opened", "kept in the test mailbox", "Why?"):
        assert told in page
    assert "<iframe" in page
    assert " sandbox " in page
    assert "Message-ID" in owner_of.get(shop.path(ADA) + "?show=headers").text


def test_the_frame_may_do_nothing(shop: MailShop, owner_of: Person) -> None:
    shop.start(ADA)
    answer = owner_of.get(shop.path(ADA) + "/frame")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.endswith("sandbox")
    assert "script-src" not in policy
    assert "frame-ancestors 'self'" in policy
    assert "Hello you" in answer.text
    assert "/o/" not in answer.text


def test_a_mail_that_is_not_kept_is_made_again_with_links_of_nobody(shop: MailShop, owner_of: Person) -> None:
    shop.start(ADA, settle=False)
    page, frame = owner_of.get(shop.path(ADA)).text, owner_of.get(shop.path(ADA) + "/frame").text
    assert "As it would be made now" in page
    assert "Hello you" in frame
    assert shop.row(ADA)["opened_at"] is None
    link = frame.partition('href="')[2].partition('"')[0]
    assert "/c/" in link
    assert owner_of.http.get(link.replace("&amp;", "&")).status_code in {400, 404}


def test_another_accounts_mail_is_not_there(shop: MailShop, boss: Person) -> None:
    shop.start(ADA)
    for path in (shop.path(ADA), shop.path(ADA) + "/frame"):
        assert boss.get(path).status_code == 404
    assert ADA not in boss.get("/mail").text
    assert boss.post(shop.path(ADA), verb="again", reason="mine").status_code == 404


@pytest.mark.parametrize(("verb", "state"), [("again", "queued"), ("drop", "failed")])
def test_a_mail_in_doubt_is_decided_about_with_a_reason(
    shop: MailShop, owner_of: Person, verb: str, state: str
) -> None:
    shop.start(ADA)
    doubt(shop, ADA)
    assert owner_of.post(shop.path(ADA), verb=verb).status_code == 422
    assert owner_of.post(shop.path(ADA), verb=verb, reason="she called us").status_code == 303
    row = shop.row(ADA)
    assert (row["state"], row["reply"]) == (state, "she called us")
    assert [entry["action"] for entry in shop.api.rows(schema.audit_log)] == ["Decided about a mail in doubt"]
    owner_of.post(shop.path(ADA), verb=verb, reason="once more")
    assert "not in doubt any more" in owner_of.get(shop.path(ADA)).text


def test_a_mail_that_failed_is_sent_again_unless_a_server_had_taken_it(shop: MailShop, owner_of: Person) -> None:
    for email, sent_at in ((ADA, None), (GRACE, 1)):
        shop.start(email)
        shop.change(email, state="failed", next_at=None, sent_at=sent_at, reply="554 not today", server="mx:25")
    assert "No server took it" in owner_of.get(shop.path(ADA)).text
    assert "No server took it" not in owner_of.get(shop.path(GRACE)).text
    for email, state in ((ADA, "queued"), (GRACE, "failed")):
        assert owner_of.post(shop.path(email), verb="again", reason="it is mended").status_code == 303
        assert shop.row(email)["state"] == state


def test_all_that_the_filter_shows_is_decided_about_and_nothing_else(shop: MailShop, owner_of: Person) -> None:
    shop.start(ADA, GRACE, EDSGER)
    doubt(shop, ADA, GRACE, EDSGER)
    owner_of.post("/mail/doubts", verb="drop", reason="too late", address="gr")
    assert [shop.row(email)["state"] for email in (ADA, GRACE, EDSGER)] == ["in doubt", "failed", "in doubt"]
    assert owner_of.post("/mail/doubts", verb="again", reason="").status_code == 422
    answer = owner_of.post("/mail/doubts", verb="again", reason="the server is back")
    assert "2 mails are sent again." in owner_of.get(answer.headers["location"]).text
    assert [shop.row(email)["state"] for email in (ADA, GRACE, EDSGER)] == ["queued", "failed", "queued"]


def test_a_backlog_is_given_up_with_a_reason(shop: MailShop, owner_of: Person) -> None:
    shop.start(ADA, GRACE)
    shop.start(EDSGER, "alan@shop.example", settle=False)
    [sequence] = shop.api.rows(schema.sequences)
    assert "Give them up" in owner_of.get(f"/mail?state=queued&sequence={sequence['id']}").text
    assert owner_of.post("/mail/backlog", reason="over").status_code == 404
    owner_of.post("/mail/backlog", reason="the offer is over", sequence=sequence["id"])
    assert (shop.row(EDSGER)["state"], shop.row(EDSGER)["reply"]) == ("failed", "the offer is over")
    assert shop.row(ADA)["state"] == MailState.ACCEPTED


def test_who_only_looks_decides_nothing(shop: MailShop, cast: Cast) -> None:
    shop.start(ADA)
    doubt(shop, ADA)
    viewer = cast.person(Role.VIEWER, shop.api)
    assert "Give up" not in viewer.get(shop.path(ADA)).text
    assert viewer.post(shop.path(ADA), verb="drop", reason="no").status_code == 403


def test_hostile_values_are_inert(shop: MailShop, owner_of: Person) -> None:
    shop.start(ADA)
    nasty = '<script>alert(1)</script>"\u202e'
    shop.change(ADA, reply=nasty, state="failed")
    for path in ("/mail", shop.path(ADA), f"/mail?address={nasty}&step={nasty}"):
        assert "<script>alert" not in owner_of.get(path).text
