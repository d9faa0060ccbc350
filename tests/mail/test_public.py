"""The pages that the links in mails lead to: who may do what there, and that it is done."""

import json
import re
from importlib.resources import files

import pytest
import sqlalchemy as sa
from sentmail import FORM, SentMail, send_mail

from cartwheel.data import schema
from cartwheel.mail.links import Kind
from cartwheel.public.texts import Texts, preferred
from harness import Api, new_api

NASTY = "<script>alert('x')</script>\"{email}"


@pytest.fixture
def sent(api: Api) -> SentMail:
    return send_mail(api)


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, page
    return found[1]


# -- leaving --


def test_one_click_stops_the_sequence(sent: SentMail) -> None:
    answer = sent.api.server.http.post(sent.stop, content=b"List-Unsubscribe=One-Click", headers=FORM)
    assert (answer.status_code, answer.headers.get("set-cookie")) == (200, None)
    assert sent.status == "unsubscribed"
    assert sent.kinds[-1] == "sequence_left"


def test_one_click_comes_as_a_multipart_form_too(sent: SentMail) -> None:
    files = {"List-Unsubscribe": (None, "One-Click")}
    assert sent.api.server.http.post(sent.stop, files=files).status_code == 200
    assert sent.status == "unsubscribed"


def test_one_click_may_come_twice(sent: SentMail) -> None:
    for _ in range(2):
        assert sent.api.server.http.post(sent.stop, content=b"List-Unsubscribe=One-Click", headers=FORM).is_success
    assert sent.kinds.count("sequence_left") == 1


def test_looking_changes_nothing(sent: SentMail) -> None:
    before = sent.kinds
    for path in (sent.stop, sent.preferences):
        for look in (sent.api.server.http.get, sent.api.server.http.head):
            answer = look(path)
            assert answer.status_code == 200
            assert answer.headers["cache-control"] == "no-store, private"
    assert (sent.kinds, sent.status, sent.suppression) == (before, "active", "")


def test_the_page_asks_before_it_stops_anything(sent: SentMail) -> None:
    page = sent.get(sent.stop).text
    assert "Stop mails from Welcome?" in page
    assert "a***@shop.example" in page
    assert sent.email not in page


def test_the_button_stops_the_sequence_and_can_be_undone(sent: SentMail) -> None:
    page = sent.press(sent.stop, do="leave").text
    assert sent.status == "unsubscribed"
    assert "You are subscribed again" in sent.press(sent.stop, do="undo", sequence="1", left=hidden(page, "left")).text
    assert sent.status == "active"
    [run] = sent.api.rows(schema.enrolments)
    assert (run["step"], run["ended_at"], run["due_at"] is not None) == ("1", None, True)


def test_only_the_leaving_of_the_page_is_undone(sent: SentMail) -> None:
    page = sent.press(sent.stop, do="leave").text
    for left in (str(int(hidden(page, "left")) - 1), "", "x", "9" * 17, "9" * 18):
        assert "Too late" in sent.press(sent.stop, do="undo", sequence="1", left=left).text
    sent.api.server.clock.forward(days=2)
    assert "Too late" in sent.press(sent.stop, do="undo", sequence="1", left=hidden(page, "left")).text
    assert sent.status == "unsubscribed"


def test_a_mail_that_nobody_knows_any_more_stops_everything(sent: SentMail) -> None:
    token = sent.signer.token(Kind.UNSUBSCRIBE, sent.id._replace(mail_id=1))
    assert "Stop all mails from Account" in sent.get(f"/u/{token}").text
    assert sent.press(f"/u/{token}", do="leave").status_code == 200
    assert sent.suppression == "do not contact"


def test_a_lead_that_is_gone_has_nothing_to_stop(sent: SentMail) -> None:
    token = sent.signer.token(Kind.UNSUBSCRIBE, sent.id._replace(lead_id=10**9))
    assert sent.api.server.http.post(f"/u/{token}", content=b"List-Unsubscribe=One-Click", headers=FORM).is_success


# -- tokens --


def test_links_that_nobody_signed_lead_nowhere(sent: SentMail) -> None:
    good = sent.token(Kind.UNSUBSCRIBE)
    bad = [good[:-1], good[1:], good + "A", good.swapcase(), "A" * 30, "x", "%00", "é", "A" * 5000]
    for token in bad:
        for place in ("u", "p", "c"):
            answer = sent.get(f"/{place}/{token}")
            assert answer.status_code == 404
            assert "This link is not valid" in answer.text
        assert sent.press(f"/u/{token}", do="leave").status_code == 404
    assert sent.status == "active"


def test_a_link_is_good_for_its_purpose_only(sent: SentMail) -> None:
    for kind, place in ((Kind.OPEN, "u"), (Kind.UNSUBSCRIBE, "p"), (Kind.PREFERENCES, "u"), (Kind.CLICK, "p")):
        assert sent.press(f"/{place}/{sent.token(kind)}", do="leave").status_code == 404
    assert sent.status == "active"


# -- preferences --


def test_the_preferences_show_lists_and_sequences_by_their_public_names(sent: SentMail) -> None:
    page = sent.get(sent.preferences).text
    assert "Our monthly letter" in page
    assert "Newsletter" not in page
    assert "Welcome" in page
    assert page.count(" checked") == 2


def test_a_list_is_left_and_joined_again(sent: SentMail) -> None:
    sent.press(sent.preferences, do="save", shown_list="1")
    assert sent.kinds[-1] == "list_left"
    assert sent.status == "active"
    sent.press(sent.preferences, do="save", shown_list="1", list="1")
    assert sent.kinds[-1] == "list_joined"


def test_nobody_joins_a_list_that_they_were_never_on(sent: SentMail) -> None:
    before = sent.kinds
    sent.press(sent.preferences, do="save", shown_list="2", list=["2", "77"])
    assert sent.kinds == before


def test_a_sequence_is_left_and_the_leaving_undone(sent: SentMail) -> None:
    page = sent.press(sent.preferences, do="save", shown_sequence="1").text
    assert "You have left Welcome." in page
    assert sent.status == "unsubscribed"
    sent.press(sent.preferences, do="undo", sequence="1", left=hidden(page, "left"))
    assert sent.status == "active"


def test_leaving_everything_can_be_undone_as_a_whole(sent: SentMail) -> None:
    page = sent.press(sent.preferences, do="leave_all").text
    assert (sent.status, sent.api.rows(schema.lead_lists)[0]["left_at"] is None) == ("unsubscribed", False)
    assert "Unsubscribe from everything" not in page
    left = {name: hidden(page, name) for name in ("sequence", "list", "left")}
    assert "You get again what you got before." in sent.press(sent.preferences, do="undo", **left).text
    assert (sent.status, sent.api.rows(schema.lead_lists)[0]["left_at"] is None) == ("active", True)
    assert "cannot be taken back" in sent.press(sent.preferences, do="undo", **left).text


def test_who_left_only_lists_can_undo_that(sent: SentMail) -> None:
    sent.press(sent.stop, do="leave")
    page = sent.press(sent.preferences, do="leave_all").text
    left = {name: hidden(page, name) for name in ("list", "left")}
    sent.press(sent.preferences, do="undo", **left)
    assert (sent.status, sent.api.rows(schema.lead_lists)[0]["left_at"]) == ("unsubscribed", None)


@pytest.mark.parametrize("button", ["never", "spam"])
def test_who_said_never_does_not_come_back_by_an_undo(sent: SentMail, button: str) -> None:
    page = sent.press(sent.preferences, do="leave_all").text
    left = {name: hidden(page, name) for name in ("sequence", "list", "left")}
    sent.press(sent.preferences, do=button)
    assert "cannot be taken back" in sent.press(sent.preferences, do="undo", **left).text
    assert sent.status == "unsubscribed"
    assert sent.api.rows(schema.lead_lists)[0]["left_at"] is not None


def test_what_was_said_is_not_offered_again(sent: SentMail) -> None:
    page = sent.press(sent.preferences, do="never").text
    assert ('value="never"' in page, 'value="spam"' in page, 'value="leave_all"' in page) == (False, True, False)
    assert 'value="spam"' not in sent.press(sent.preferences, do="spam").text


def test_who_has_left_is_not_asked_again(sent: SentMail) -> None:
    sent.press(sent.stop, do="leave")
    page = sent.get(sent.stop).text
    assert "a***@shop.example gets no more mails from Welcome." in page
    assert "<button" not in page
    sent.press(sent.preferences, do="never")
    assert "gets no more mails from us." in sent.get(sent.stop).text


@pytest.mark.parametrize(("button", "reason"), [("leave_all", ""), ("never", "do not contact"), ("spam", "complaint")])
def test_everything_is_left(sent: SentMail, button: str, reason: str) -> None:
    assert sent.press(sent.preferences, do=button).status_code == 200
    assert sent.status == "unsubscribed"
    assert sent.api.rows(schema.lead_lists)[0]["left_at"] is not None
    assert sent.suppression == reason
    assert sent.api.lead(sent.email)["blacklisted"] == int(bool(reason))


def test_who_does_not_want_it_is_not_watched(sent: SentMail) -> None:
    assert "We do not record" in sent.press(sent.preferences, do="untrack").text
    sent.get(sent.pixel)
    sent.get(sent.click())
    [mail] = sent.api.rows(schema.mails)
    assert (mail["opened_at"], mail["clicked_at"], mail["machine_opened_at"], mail["machine_clicked_at"]) == (None,) * 4
    sent.press(sent.preferences, do="track")
    sent.get(sent.pixel)
    [mail] = sent.api.rows(schema.mails)
    assert mail["opened_at"] or mail["machine_opened_at"]


def test_who_said_never_is_offered_no_lists(sent: SentMail) -> None:
    sent.press(sent.preferences, do="never")
    assert "checkbox" not in sent.get(sent.preferences).text.partition("Your data")[0]
    sent.press(sent.preferences, do="save", shown_list="1", list="1")
    assert sent.api.rows(schema.lead_lists)[0]["left_at"] is not None


def test_the_data_comes_whole(api: Api) -> None:
    fields = [{"field_identifier": "plan", "field_value": "612"}]
    sent = send_mail(api, first_name="Marker-Name", ip="203.0.113.77")
    api.call({"cmd": "edit_lead"}, lead={"email": sent.email, "custom_fields": fields})
    api.on(sent.email, "assign_tag", tag_name="Customer")
    api.on(sent.email, "give_points_to_lead", points=5, expiration=30)
    api.on(sent.email, "remove_points_from_lead", points=2)
    sent.get(sent.pixel)
    sent.get(sent.click())
    leads, mails = schema.leads, schema.mails
    known = {"notes": "Marker-Notes", "ip_country": "XK", "gdpr_status_ip": "203.0.113.78", "source_id": 987}
    suppressed = {"reason": "hard bounce", "at": 0, "details": "Marker-Suppression", "soft_bounces": 3}
    with api.server.database.write() as connection:
        connection.execute(sa.update(leads).where(leads.c.account_id == api.account_id).values(known))
        mine = mails.c.account_id == api.account_id
        connection.execute(sa.update(mails).where(mine).values(reply="Marker-Reply", clicked_at=0))
        connection.execute(
            sa.insert(schema.suppressions).values(suppressed | {"account_id": api.account_id, "email": sent.email})
        )
    before = sent.kinds
    answer = sent.press(sent.preferences, do="data")
    assert "attachment" in answer.headers["content-disposition"]
    data = json.loads(answer.content)
    assert data["email"] == sent.email
    assert (data["notes"], data["country_of_ip"], data["source_id"]) == ("Marker-Notes", "XK", 987)
    assert (data["consent"]["ip"], data["consent"]["communications"]) == ("203.0.113.78", False)
    assert data["fields"]["first_name"] == "Marker-Name"
    assert data["fields"]["ip"] == "203.0.113.77"
    assert data["fields"]["plan"]
    assert (data["tags"], data["score"]) == (["Customer"], 3)
    assert sorted(grant["points"] for grant in data["points"]) == [-2, 5]
    assert [bool(grant["expires_at"]) for grant in data["points"] if grant["points"] == 5] == [True]
    assert data["lists"][0]["name"] == "Our monthly letter"
    assert (data["sequences"][0]["name"], data["sequences"][0]["step"]) == ("Welcome", "1")
    [mail] = data["mails"]
    assert (mail["state"], mail["to"], mail["reply"]) == ("accepted", sent.email, "Marker-Reply")
    assert mail["opened_at"]
    assert mail["clicked_at"]
    assert data["suppression"] == {
        "not_mailed_because": "hard bounce",
        "details": "Marker-Suppression",
        "at": "1970-01-01T00:00:00+00:00",
        "soft_bounces": 3,
    }
    assert len(data["events"]) == len(before)
    told = [event["what"] for event in data["events"]]
    for what in ("Got the tag Customer", "Got 5 points for 30 days", "Opened the mail of step 1 of Welcome"):
        assert what in told
    assert sent.kinds == before


def test_an_event_that_nobody_can_read_any_more_is_told_as_it_is(sent: SentMail) -> None:
    events = schema.events
    with sent.api.server.database.write() as connection:
        mine = (events.c.account_id == sent.api.account_id) & (events.c.kind == "list_joined")
        connection.execute(sa.update(events).where(mine).values(kind="of_the_future", details='{"x": 1}'))
    told = [event["what"] for event in json.loads(sent.press(sent.preferences, do="data").content)["events"]]
    assert 'of_the_future {"x": 1}' in told


def test_deleting_asks_once_more(sent: SentMail) -> None:
    before = sent.kinds
    page = sent.press(sent.preferences, do="delete").text
    assert "Delete everything that we know about you?" in page
    assert "a***@shop.example" in page
    assert 'value="erase"' in page
    assert (sent.kinds, sent.status) == (before, "active")


def test_who_is_erased_is_gone_and_its_page_tells_nothing(sent: SentMail) -> None:
    assert "Your data is deleted" in sent.press(sent.preferences, do="erase").text
    [proof] = sent.api.rows(schema.audit_log)
    assert (proof["who"], proof["action"]) == ("the lead itself", "Erased a lead")
    [row] = sent.api.rows_of_leads()
    assert row["email"] == f"erased:{sent.id.lead_id}"
    assert (sent.suppression, sent.status) == ("", "unsubscribed")
    assert "not among our contacts" in sent.press(sent.preferences, do="erase").text
    for path in (sent.preferences, sent.stop):
        assert "shop.example" not in sent.get(path).text
    assert sent.press(sent.preferences, do="data").headers["content-type"].startswith("text/html")
    assert sent.press(sent.preferences, do="save", shown_list="1", list="1").is_success
    assert sent.get(sent.pixel).is_success
    assert sent.api.server.http.post(sent.stop, content=b"List-Unsubscribe=One-Click", headers=FORM).is_success
    assert sent.kinds[-1] == "lead_erased"


def test_what_no_button_says_changes_nothing(sent: SentMail) -> None:
    before = sent.kinds
    for fields in ({}, {"do": "explode"}, {"do": ""}, {"do": "save", "shown_list": ["x", "-1", "²", "9" * 30]}):
        assert sent.press(sent.preferences, **fields).status_code == 200
    assert sent.kinds == before


def test_a_form_that_is_too_large_is_refused(sent: SentMail) -> None:
    answer = sent.api.server.http.post(sent.preferences, content=b"do=never&x=" + b"x" * 300_000, headers=FORM)
    assert answer.status_code == 413
    assert sent.suppression == ""


# -- the pages themselves --


def test_hostile_names_are_shown_as_they_are(api: Api) -> None:
    hostile = new_api(api.server, account={"name": NASTY, "mail": {"address": NASTY}})
    sent = send_mail(hostile, "b+x'y@shop.example", first_name=NASTY)
    for answer in (sent.get(sent.stop), sent.get(sent.preferences), sent.press(sent.stop, do="leave")):
        assert "<script" not in answer.text
        assert "&lt;script&gt;" in answer.text
        assert "{email}" in answer.text


def test_pages_run_nothing_and_tell_nobody_where_they_were(sent: SentMail) -> None:
    headers = sent.get(sent.preferences).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert "<script" not in sent.get(sent.preferences).text


def test_the_account_shows_who_it_is(api: Api) -> None:
    sent = send_mail(new_api(api.server, account={"mail": {"address": "1 Long Road, Springfield"}}))
    for path in (sent.stop, sent.preferences):
        assert "1 Long Road, Springfield" in sent.get(path).text


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("", "en"),
        ("es", "es"),
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("ES", "es"),
        ("fr, es;q=0.5, en;q=0.1", "es"),
        ("en;q=0.1, es ; q=0.5", "es"),
        ("en-US,en;q=0.9,es;q=0.8", "en"),
        ("de,fr;q=0.5", "en"),
        ("*", "en"),
        ("es;q=0", "en"),
        ("es;q=abc, en;q=0.9", "es"),
        (",;=;q,es;;q=1", "es"),
    ],
)
def test_readers_are_answered_in_their_language(asked: str, language: str) -> None:
    assert preferred(asked, {"en", "es"}) == language


def test_each_page_comes_in_the_language_of_its_reader(sent: SentMail) -> None:
    page = sent.get(sent.stop, accept_language="es-AR, en;q=0.5").text
    assert '<html lang="es">' in page
    assert "¿Dejar de recibir los correos de Welcome?" in page
    assert '<html lang="en">' in sent.get(sent.stop).text
    assert "Este enlace no es válido" in sent.get("/u/x", accept_language="es").text


def test_every_language_says_everything() -> None:
    languages = Texts(files("cartwheel").joinpath("public", "templates")).by_language
    assert set(languages) == {"en", "es"}
    shapes = {
        name: {(page, key, *sorted(re.findall(r"{\w+}", text))) for page in texts for key, text in texts[page].items()}
        for name, texts in languages.items()
    }
    assert shapes["es"] == shapes["en"]


def test_a_name_from_right_to_left_does_not_turn_the_sentence(api: Api) -> None:
    sent = send_mail(new_api(api.server, account={"name": "متجر (1)"}))
    assert "What \u2068متجر (1)\u2069 sends to" in sent.get(sent.preferences).text
