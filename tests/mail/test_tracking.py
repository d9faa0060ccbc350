"""Opens, clicks and bounces: each is counted once, people and machines apart, and nobody is led astray."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import sqlalchemy as sa
import tomli_w
from sentmail import BROWSER, SentMail, send_mail

from cartwheel import app
from cartwheel.accountfiles import accountfile
from cartwheel.bounces.reports import Kind as Reported
from cartwheel.bounces.reports import Report
from cartwheel.config import Settings
from cartwheel.data import mailbox, schema
from cartwheel.errors import BadSetting
from cartwheel.mail.links import Kind
from cartwheel.sending.tracking import is_machine, record
from cartwheel.times import to_micros
from commandline import name_of
from conftest import Databases
from harness import ENVIRONMENT, Api, Server, new_api

SENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = SENT + timedelta(minutes=5)
TARGET = "https://shop.example/offer?a=1&b=ü%20#top"


@pytest.fixture
def sent(api: Api) -> SentMail:
    return send_mail(api)


# -- people and machines --


@pytest.mark.parametrize(
    "user_agent",
    [
        BROWSER["User-Agent"],
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
        "Mozilla/5.0 (Linux; Android 13; CUBOT X70) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36",
    ],
)
def test_these_are_people(user_agent: str) -> None:
    assert not is_machine(user_agent, LATER, SENT)
    assert is_machine(user_agent, SENT + timedelta(seconds=1.9), SENT)
    assert is_machine(user_agent, LATER, None)


@pytest.mark.parametrize(
    "user_agent",
    [
        "",
        "Mozilla/5.0",
        "curl/8.5.0",
        "python-requests/2.32",
        "Go-http-client/1.1",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko; BingPreview/1.0b) Chrome/120",
        "Mozilla/5.0 HeadlessChrome/120.0",
        "Barracuda Sentinel (EE)",
        "Slackbot-LinkExpanding 1.0",
    ],
)
def test_these_are_machines(user_agent: str) -> None:
    assert is_machine(user_agent, LATER, SENT)


# -- opens --


def test_an_open_is_counted_once(sent: SentMail) -> None:
    for _ in range(2):
        answer = sent.get(sent.pixel)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
        assert "no-store" in answer.headers["cache-control"]
        sent.api.server.clock.forward(hours=1)
    assert sent.kinds.count("mail_opened") == 1
    assert sent.row["opened_at"] == sent.row["sent_at"] + 60_000_000
    assert sent.row["machine_opened_at"] is None


def test_the_open_of_a_machine_is_kept_apart(sent: SentMail) -> None:
    sent.get(sent.pixel, User_Agent="Mozilla/5.0")
    assert (sent.row["opened_at"], sent.row["machine_opened_at"] is not None) == (None, True)
    assert "mail_opened" not in sent.kinds
    sent.get(sent.pixel)
    assert sent.row["opened_at"] is not None


def test_who_does_not_look_has_not_opened(sent: SentMail) -> None:
    before = sent.row
    for path in (sent.pixel, sent.click()):
        assert sent.api.server.http.head(path, headers=BROWSER).status_code in {200, 302}
        sent.get(path, Sec_Purpose="prefetch;prerender")
    for token in ("x", sent.token(Kind.OPEN)[:-1], sent.token(Kind.UNSUBSCRIBE)):
        assert sent.get(f"/o/{token}").headers["content-type"] == "image/gif"
    assert sent.row == before


# -- switches --

STEP = {"box": "1", "type": "email", "subject": "Hello", "html": "<p>Hello</p>"}


def change(sent: SentMail, account: dict[str, Any], step: dict[str, Any]) -> None:
    """The account's file is applied again."""
    file = {
        "account": {"name": name_of(sent.api), **account},
        "sequences": [{"name": "Welcome", "steps": [STEP | step]}],
    }
    server = sent.api.server
    accountfile.apply(server.database, accountfile.read_text(tomli_w.dumps(file), Path()), server.clock())


@pytest.mark.parametrize("of_account", [True, False], ids=["of the account", "of the step"])
@pytest.mark.parametrize(
    ("off", "seen"),
    [
        ({"track_opens": False}, {"clicked_at"}),
        ({"track_clicks": False}, {"opened_at"}),
        ({"track_opens": False, "track_clicks": False}, set()),
        ({}, {"opened_at", "clicked_at"}),
    ],
)
def test_a_switch_holds_for_mails_that_were_sent_before_it(
    sent: SentMail, off: dict[str, Any], seen: set[str], *, of_account: bool
) -> None:
    change(sent, {"mail": off} if of_account else {}, {} if of_account else off)
    for agent in (BROWSER["User-Agent"], "curl/8"):
        sent.get(sent.pixel, User_Agent=agent)
        answer = sent.get(sent.click(), User_Agent=agent)
        assert (answer.status_code, answer.headers["location"]) == (302, "https://shop.example/")
        sent.judge()
        sent.api.server.clock.forward(minutes=1)
    recorded = {
        name for name, value in sent.row.items() if value is not None and name.endswith(("opened_at", "clicked_at"))
    }
    assert recorded == seen | {f"machine_{name}" for name in seen}
    change(sent, {"mail": {"track_opens": True, "track_clicks": True}}, {})
    sent.get(sent.pixel)
    sent.get(sent.click(TARGET))
    sent.judge()
    assert (sent.row["opened_at"] is not None, sent.row["clicked_at"] is not None) == (True, True)


# -- clicks --


def test_a_click_leads_on_and_is_counted_once(sent: SentMail) -> None:
    for _ in range(2):
        answer = sent.get(sent.click(TARGET))
        assert answer.status_code == 302
        assert answer.headers["location"] == "https://shop.example/offer?a=1&b=%C3%BC%20#top"
        sent.judge()
    assert sent.kinds.count("mail_clicked") == 1
    assert sent.row["clicked_at"] is not None


def test_nobody_is_led_where_the_mail_did_not(sent: SentMail) -> None:
    good = sent.token(Kind.CLICK, 0, TARGET)
    other = sent.another().token(Kind.CLICK, 0, "https://other.example/")
    cases = [
        f"/c/{good}?to={quote('https://evil.example/', safe='')}",
        f"/c/{good}?to={quote(TARGET + '.', safe='')}",
        f"/c/{good}",
        f"/c/{good}?to=",
        f"/c/{other}?to={quote(TARGET, safe='')}",
        f"/c/{sent.token(Kind.OPEN)}?to=https://evil.example/",
        f"/c/{sent.token(Kind.OPEN, 0, TARGET)}?to={quote(TARGET, safe='')}",
        sent.click("javascript:alert(1)"),
        sent.click("//evil.example/"),
    ]
    for path in cases:
        answer = sent.get(path)
        assert (answer.status_code, answer.headers.get("location")) == (404, None), path
    assert sent.row["clicked_at"] is None


def test_a_target_cannot_add_a_header(sent: SentMail) -> None:
    answer = sent.get(sent.click("https://shop.example/\r\nSet-Cookie: a=b"))
    assert "set-cookie" not in answer.headers
    assert "\n" not in answer.headers["location"]


def test_who_follows_every_link_at_once_is_a_machine(sent: SentMail) -> None:
    for link in range(3):
        sent.get(sent.click(link=link))
        sent.api.server.clock.forward(seconds=0.1)
    assert (sent.row["clicked_at"], sent.row["machine_clicked_at"] is not None) == (None, True)
    sent.judge()
    sent.get(sent.click())
    sent.judge()
    assert sent.row["clicked_at"] is not None


def test_a_double_click_is_one_by_a_person(sent: SentMail) -> None:
    for _ in range(2):
        sent.get(sent.click())
    sent.judge()
    assert (sent.row["clicked_at"] is not None, sent.row["machine_clicked_at"]) == (True, None)


def test_a_click_leads_on_when_the_database_is_away(databases: Databases) -> None:
    alone = Server(databases.migrated("sqlite"))
    try:
        sent = send_mail(new_api(alone))
        with alone.database.write() as connection:
            connection.exec_driver_sql("ALTER TABLE mails RENAME TO gone")
        assert sent.get(sent.click()).status_code == 302
        assert sent.get(sent.pixel).status_code == 200
    finally:
        alone.stop()


# -- bounces --


def tell(sent: SentMail, kind: Reported, *, by_recipient: bool = False, **about: Any) -> int:
    application = sent.api.server.application
    report = Report(kind=kind, **about)
    proved_at = sent.api.server.clock() if by_recipient else None
    return sent.api.server.run(
        lambda: record(report, application.batches, sent.api.server.database, sent.signer, proved_at=proved_at)
    )


def returned_to(sent: SentMail) -> dict[str, Any]:
    return {"return_paths": (sent.signer.bounce_address(sent.id, "bounces@acme.example"),)}


def test_a_hard_bounce_fails_the_mail_and_stops_the_next(sent: SentMail) -> None:
    for _ in range(2):
        assert tell(sent, Reported.HARD, **returned_to(sent), status="5.1.1", diagnostic="no such user") == 1
    assert (sent.row["state"], sent.row["reply"]) == ("failed", "5.1.1 no such user")
    assert sent.suppression == "hard bounce"
    assert sent.kinds.count("mail_bounced") == 1


def test_a_mail_is_found_by_its_message_id(sent: SentMail) -> None:
    message_id = sent.signer.message_id(sent.id, "acme.example").strip("<>")
    assert tell(sent, Reported.HARD, original_message_id=message_id) == 1
    assert sent.suppression == "hard bounce"


def test_soft_bounces_count_once_a_mail_until_they_are_enough(api: Api) -> None:
    mails = [send_mail(new_api(api.server, account={"mail": {"soft_bounces": 2}}))]
    mails.append(mails[0].another())
    for _ in range(3):
        tell(mails[0], Reported.SOFT, **returned_to(mails[0]))
    assert mails[0].suppression == ""
    tell(mails[1], Reported.SOFT, **returned_to(mails[1]))
    assert mails[0].suppression == "repeated soft bounces"


@pytest.mark.parametrize("first", [Reported.SOFT, Reported.BLOCKED])
def test_a_server_that_gives_up_in_the_end_stops_the_next(sent: SentMail, first: Reported) -> None:
    for kind in (first, Reported.HARD, Reported.HARD):
        tell(sent, kind, **returned_to(sent), status="5.1.1")
    assert sent.suppression == "hard bounce"
    assert sent.kinds.count("mail_bounced") == (2 if first is Reported.SOFT else 1)


def test_a_blocked_mail_says_nothing_against_its_address(sent: SentMail) -> None:
    tell(sent, Reported.BLOCKED, **returned_to(sent))
    assert sent.row["state"] == "failed"
    assert sent.api.rows(schema.suppressions) == []


def test_a_complaint_stops_all_mail(sent: SentMail) -> None:
    tell(sent, Reported.COMPLAINT, **returned_to(sent))
    assert (sent.row["state"], sent.suppression) == ("accepted", "complaint")


def test_a_bounce_of_the_address_before_says_nothing_against_the_one_now(sent: SentMail) -> None:
    sent.api.call({"cmd": "edit_lead"}, lead={"email": sent.email, "new_email": "new@shop.example"})
    tell(sent, Reported.HARD, **returned_to(sent))
    assert sent.row["state"] == "failed"
    assert sent.api.rows(schema.suppressions) == []


def test_who_has_proved_nothing_has_to_name_the_mail(sent: SentMail) -> None:
    about: dict[str, Any] = {"recipient": sent.email, "original_message_id": "made-up@acme.example"}
    assert tell(sent, Reported.HARD, **about) == 0
    assert tell(sent, Reported.HARD, by_recipient=True, recipient="nobody@shop.example") == 0
    assert sent.suppression == ""
    assert tell(sent, Reported.HARD, by_recipient=True, **about) >= 1
    assert sent.suppression == "hard bounce"


_NUMBERS = itertools.count(1)


@pytest.fixture
def others(server: Server) -> dict[str, SentMail]:
    """Mails of several accounts to one address, which no other test has mailed."""
    email = f"eve{next(_NUMBERS)}@elsewhere.example"
    senders = {"acme": "Acme <hello@acme.example>", "shop": "Shop <hello@shop.example>", "nobody": ""}
    return {
        name: send_mail(new_api(server, account={"mail": {"sender": sender}}), email)
        for name, sender in senders.items()
    }


def forget(sent: SentMail, **changes: Any) -> None:
    """The mail was another."""
    mine = {"account_id": sent.api.account_id, "id": sent.id.mail_id}
    with sent.api.server.database.write() as connection:
        connection.execute(sa.update(schema.mails).filter_by(**mine).values(changes))


@pytest.mark.parametrize(
    ("sender", "met"),
    [
        ("", {"acme", "shop", "nobody"}),
        ("hello@acme.example", {"acme"}),
        ("bounce+17@mg.shop.example", {"shop"}),
        ("bounces@relay.example", {"acme", "shop", "nobody"}),
        ("hello@notacme.example", {"acme", "shop", "nobody"}),
    ],
)
def test_a_report_without_a_mail_is_about_those_whose_sender_it_names(
    others: dict[str, SentMail], sender: str, met: set[str]
) -> None:
    acme = others["acme"]
    assert tell(acme, Reported.COMPLAINT, by_recipient=True, recipient=acme.email, sender=sender) == len(met)
    assert {name for name, sent in others.items() if sent.suppression} == met


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "eve@before.example"},
        {"attempts": 0, "state": "queued"},
        {"server": mailbox.SERVER.name},
        {"queued_at": 0},
    ],
)
def test_a_report_without_a_mail_is_about_nobody_who_has_not_mailed_the_address_lately(
    others: dict[str, SentMail], changes: dict[str, Any]
) -> None:
    acme = others["acme"]
    forget(acme, **changes)
    assert tell(acme, Reported.HARD, by_recipient=True, recipient=acme.email, sender="hello@acme.example") == 2
    assert {name for name, sent in others.items() if sent.suppression} == {"shop", "nobody"}


def test_a_report_without_a_mail_is_about_none_that_was_sent_after_it(others: dict[str, SentMail]) -> None:
    shop = others["shop"]
    at = shop.api.server.clock() - timedelta(minutes=10)
    later = shop.another()
    forget(shop, queued_at=to_micros(at))
    assert tell(shop, Reported.HARD, by_recipient=True, recipient=shop.email, at=at) == 1
    assert (shop.row["state"], later.row["state"]) == ("failed", "accepted")
    assert {name for name, sent in others.items() if sent.suppression} == {"shop"}


@pytest.mark.parametrize("kind", [Reported.NOTICE, Reported.AUTO_REPLY])
def test_what_is_no_failure_changes_nothing(sent: SentMail, kind: Reported) -> None:
    assert tell(sent, kind, **returned_to(sent)) == 0
    assert sent.row["state"] == "accepted"


# -- providers --


@pytest.fixture(scope="module")
def hooked_server(engine: str, databases: Databases) -> Iterator[Server]:
    running = Server(databases.migrated(engine), {"CARTWHEEL_BOUNCE_HOOKS": "postmark=let me in, signed=x"})
    yield running
    running.stop()


@pytest.fixture
def hooked(hooked_server: Server) -> SentMail:
    hooked_server.clock.reset()
    return send_mail(new_api(hooked_server))


def post(sent: SentMail, path: str, event: Any) -> httpx.Response:
    return sent.api.server.http.post(path, content=json.dumps(event).encode())


def test_a_provider_reports_a_bounce(hooked: SentMail) -> None:
    event = {"RecordType": "Bounce", "Type": "HardBounce", "Email": hooked.email, "Details": "550 5.1.1 unknown user"}
    assert post(hooked, "/hooks/postmark/wrong", event).status_code == 403
    assert post(hooked, "/hooks/postmark", event).status_code == 403
    assert post(hooked, "/hooks/brevo/let%20me%20in", event).status_code == 404
    assert hooked.suppression == ""
    assert post(hooked, "/hooks/postmark/let%20me%20in", event).status_code == 200
    assert (hooked.suppression, hooked.row["state"]) == ("hard bounce", "failed")


@pytest.mark.parametrize("text", ["postmark", "postmark=", "=x", "postmark=a, postmark=b", "nobody=x"])
def test_a_setting_that_cannot_be_meant_is_told(text: str) -> None:
    with pytest.raises(BadSetting, match="CARTWHEEL_BOUNCE_HOOKS"):
        app.Application(Settings.load({**ENVIRONMENT, "CARTWHEEL_BOUNCE_HOOKS": text}))
