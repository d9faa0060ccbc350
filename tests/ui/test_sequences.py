"""Sequences on the pages: made, written, looked at, published, moved, tried."""

import re
from typing import Any

import pytest
from cast import Cast, Person
from drafting import HERE, add, mail, make, sent_of
from selectolax.lexbor import LexborHTMLParser

from cartwheel.data import draftstore, flowstore, mailbox, runstore
from cartwheel.people import Role
from cartwheel.sequences.steps import STEP_TYPES
from cartwheel.ui import forgery
from harness import Api


def publish(boss: Person, at: str, **fields: Any) -> Any:
    """What its preview shows."""
    return boss.post(f"{at}/publish", seen=hidden(boss.get(f"{at}/publish").text, "seen"), **fields)


def hidden(page: str, name: str, within: str = "form") -> str:
    """The value of a page's hidden field."""
    found = LexborHTMLParser(page).css_first(f"{within} input[name={name}]")
    assert found is not None
    return found.attributes["value"] or ""


def undo_of(page: str) -> dict[str, str]:
    """What the notice's button sends."""
    fields = LexborHTMLParser(page).css(".notice form input")
    found = {field.attributes["name"] or "": field.attributes["value"] or "" for field in fields}
    del found["csrf"]
    return found


def test_from_nothing_to_a_sequence_that_runs(boss: Person) -> None:
    at = make(boss)
    assert "Most sequences begin with a mail" in boss.get(f"{at}/edit").text
    assert mail(boss, at).status_code == 303
    assert "Nothing is wrong with it" in boss.get(f"{at}/edit").text
    answer = publish(boss, at)
    assert answer.status_code == 303
    page = boss.get(at).text
    assert "Version 1 is published" in page
    assert "Hello {first_name}" in page


def test_the_welcome_series_is_there_to_be_published(boss: Person) -> None:
    at = make(boss, "Welcome you", "welcome")
    edit = boss.get(f"{at}/edit").text
    assert "Three things to try" in edit
    assert publish(boss, at).status_code == 303


EXAMPLES: dict[str, dict[str, str]] = {
    "email": {"subject": "Hi", "kind": "html", "body": "<p>Hi</p>"},
    "points": {"points": "-5"},
    "assign_tag": {"tag": "Customer"},
    "unassign_tag": {"tag": "Customer"},
    "subscribe_list": {"list": "Newsletter"},
    "unsubscribe_list": {"list": "Newsletter"},
    "start_sequence": {"sequence": "Welcome"},
    "stop_sequence": {"sequence": "Welcome"},
    "split": {"condition.type": "has_tag", "condition.tag": "Customer", "then": "1"},
    "random_split": {"branches.0.weight": "1", "branches.0.to": "1", "branches.1.weight": "3", "branches.1.to": "1"},
    "go_to": {"to": "1"},
    "wait_until": {
        "condition.type": "any",
        "condition.conditions.0.type": "clicked",
        "condition.conditions.0.box": "1",
        "condition.conditions.1.type": "score",
        "condition.conditions.1.at_least": "5",
        "timeout.amount": "2",
        "timeout.unit": "weeks",
    },
    "goal": {"condition.type": "not", "condition.condition.type": "on_list", "condition.condition.list": "Newsletter"},
    "wait": {"delay.amount": "2", "delay.unit": "days"},
    "complete": {},
    "unsubscribe": {},
}


def names_of(api: Api, boss: Person, at: str, kind: str) -> dict[str, str]:
    """The example with names that this account has."""
    page = boss.get(f"{at}/edit/add?type={kind}").text
    fields = dict(EXAMPLES[kind])
    for name in ("tag", "list", "sequence"):
        if name in fields:
            options = re.search(rf'<select[^>]*name="{name}".*?</select>', page, re.DOTALL)
            assert options
            fields[name] = re.findall(r'value="([^"]+)"', options[0])[0]
    account = api.server.run(api.server.application.batches.refresh).accounts[api.account_id]
    for name, value in fields.items():
        if name.endswith(".tag"):
            fields[name] = next(iter(account.tags.values())).name
        if name.endswith(".list"):
            fields[name] = next(iter(account.lists.values())).name
        assert value is not None
    return fields


@pytest.mark.parametrize("kind", [str(step.__struct_config__.tag) for step in STEP_TYPES])
def test_each_type_of_step_is_written_and_read_again_as_it_was(boss: Person, api: Api, kind: str) -> None:
    at = make(boss)
    mail(boss, at)
    answer = add(boss, at, kind, **names_of(api, boss, at, kind))
    assert answer.status_code == 303, re.findall(r"invalid-feedback[^<]*<|invalid-feedback[^>]*>([^<]*)", answer.text)
    number = int(at.rsplit("/", 1)[1])
    with api.server.database.read() as connection:
        before = draftstore.read(connection, api.account_id, number)
    assert before is not None
    assert str(before.steps[1].__struct_config__.tag) == kind
    page = boss.get(f"{at}/edit/step/2").text
    assert boss.post(f"{at}/edit/step/2", **sent_of(page)).status_code == 303
    with api.server.database.read() as connection:
        assert draftstore.read(connection, api.account_id, number) == before


def test_waiting_can_be_chosen_in_plain_words(boss: Person) -> None:
    at = make(boss)
    mail(boss, at)
    assert "<strong>Wait</strong>" in boss.get(f"{at}/edit/add?after=1").text
    page = boss.get(f"{at}/edit/add?type=wait&after=1").text
    assert "Wait for" in page
    sent = {**sent_of(page), "delay.amount": "0"}
    assert "A wait needs a time" in boss.post(f"{at}/edit/add", **sent).text
    assert boss.post(f"{at}/edit/add", **sent_of(page)).status_code == 303
    assert "after 1 day" in boss.get(f"{at}/edit").text


def test_a_mail_that_is_not_begun_yet_is_no_mistake(boss: Person) -> None:
    at = make(boss)
    sent = sent_of(boss.get(f"{at}/edit/add?type=email").text)
    fresh = boss.http.post(
        f"{at}/preview", data={**sent, "csrf": forgery.token(boss.cookie)}, headers={"HX-Request": "true"}
    )
    assert fresh.status_code == 200
    assert "finding" not in fresh.text
    assert "as you write it" in boss.post(f"{at}/preview", **sent).text


def test_how_often_a_lead_may_start_is_without_limit_if_it_is_empty(boss: Person) -> None:
    at = make(boss)
    page = boss.get(at).text
    most = re.search(r'<input[^>]*name="most"[^>]*>', page)
    assert most is not None
    assert 'value=""' in most[0]
    assert "no limit" in most[0]
    assert boss.post(at, name="Limited", entry="1", again="on", most="3", days="7").status_code == 303
    assert 'value="3"' in re.findall(r'<input[^>]*name="most"[^>]*>', boss.get(at).text)[0]
    assert boss.post(at, name="Limited", entry="1", again="on", most="", days="7").status_code == 303
    assert 'value=""' in re.findall(r'<input[^>]*name="most"[^>]*>', boss.get(at).text)[0]


def test_what_is_wrong_stands_beside_its_field(boss: Person) -> None:
    at = make(boss)
    assert "A mail needs something to say" in mail(boss, at, body="").text
    refused = add(boss, at, "assign_tag", tag="")
    assert refused.status_code == 422
    assert "This is needed" in refused.text
    assert add(boss, at, "split", **{"condition.type": ""}).status_code == 422
    mail(boss, at)
    assert "Another step has this label" in mail(boss, at, box="1").text
    assert mail(boss, at, box="no label").status_code == 422


def test_problems_name_the_box_and_keep_it_from_being_published(boss: Person, api: Api) -> None:
    at = make(boss)
    mail(boss, at)
    add(boss, at, "go_to", to="Z9")
    page = boss.get(f"{at}/edit").text
    assert "there is no box Z9 to go to" in page
    assert publish(boss, at).status_code == 422
    number = int(at.rsplit("/", 1)[1])
    with api.server.database.read() as connection:
        assert flowstore.read(connection, (api.account_id, number, 1)) is None


def test_each_change_of_a_draft_can_be_taken_back(boss: Person) -> None:
    at = make(boss)
    mail(boss, at, subject="First")
    mail(boss, at, subject="Second")
    boss.post(f"{at}/edit/step/1/remove")
    page = boss.get(f"{at}/edit").text
    assert "First" not in page
    assert f'action="{at}/edit/undo"' in page
    boss.post(f"{at}/edit/undo", **undo_of(page))
    assert "First" in boss.get(f"{at}/edit").text


def test_undo_pressed_twice_takes_back_once(boss: Person) -> None:
    at = make(boss)
    mail(boss, at, subject="First")
    mail(boss, at, subject="Second")
    undo = undo_of(boss.get(f"{at}/edit").text)
    boss.post(f"{at}/edit/undo", **undo)
    boss.post(f"{at}/edit/undo", **undo)
    page = boss.get(f"{at}/edit").text
    assert "Nothing is taken back" in page
    assert "Second" not in page


def test_what_was_taken_back_can_be_made_again_and_is_called_that(boss: Person) -> None:
    at = make(boss)
    mail(boss, at, subject="First")
    boss.post(f"{at}/edit/undo", **undo_of(boss.get(f"{at}/edit").text))
    page = boss.get(f"{at}/edit").text
    assert "The last change is taken back" in page
    boss.post(f"{at}/edit/undo", **undo_of(page))
    page = boss.get(f"{at}/edit").text
    assert "The change is made again" in page
    assert "First" in page


def test_what_was_not_previewed_is_not_published(boss: Person, cast: Cast) -> None:
    at = make(boss)
    mail(boss, at, subject="Looked at")
    seen = hidden(boss.get(f"{at}/publish").text, "seen")
    other = cast.person(Role.OWNER)
    step = sent_of(other.get(f"{at}/edit/step/1").text)
    assert other.post(f"{at}/edit/step/1", **step | {"subject": "Unseen"}).status_code == 303
    answer = boss.post(f"{at}/publish", seen=seen)
    assert answer.status_code == 422
    assert "changed since you opened" in answer.text
    assert "Not published yet" in boss.get(at).text
    assert boss.post(f"{at}/publish", seen=hidden(answer.text, "seen")).status_code == 303
    assert "Unseen" in boss.get(at).text
    assert "runs already" in boss.get(boss.post(f"{at}/publish", seen=seen).headers["location"]).text


def test_two_who_write_one_step_hear_of_each_other(boss: Person, cast: Cast) -> None:
    at = make(boss)
    mail(boss, at)
    step = sent_of(boss.get(f"{at}/edit/step/1").text)
    boss.post(f"{at}/edit/step/1", **step | {"subject": "Of one"})
    answer = cast.person(Role.OWNER).post(f"{at}/edit/step/1", **step | {"subject": "Of another"})
    assert answer.status_code == 422
    assert "changed since you opened" in answer.text
    assert "Of one" in boss.get(f"{at}/edit").text
    again = sent_of(answer.text)
    assert again["subject"] == "Of another"
    assert boss.post(f"{at}/edit/step/1", **again).status_code == 303
    assert "Of another" in boss.get(f"{at}/edit").text


def test_a_new_label_goes_along_into_the_ways_that_lead_there(boss: Person) -> None:
    at = make(boss)
    mail(boss, at)
    add(boss, at, "go_to", to="1")
    changed = {"box": "A1", "subject": "Hi", "kind": "html", "body": "<p>Hi</p>"}
    boss.post(f"{at}/edit/step/1", **sent_of(boss.get(f"{at}/edit/step/1").text) | changed)
    assert "step A1" in boss.get(f"{at}/edit").text


def test_publishing_shows_who_moves_and_moves_them(boss: Person, api: Api) -> None:
    at = make(boss, "Moving")
    mail(boss, at, **{"delay.amount": "1", "delay.unit": "days"})
    publish(boss, at)
    api.create("ada@shop.example")
    api.on("ada@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name="Moving", step="1")
    mail(boss, at, subject="Another")
    page = boss.get(f"{at}/publish").text
    assert "New:" in page
    assert "Move the one who can be moved" in page
    assert publish(boss, at, move="all").status_code == 303
    page = boss.get(at).text
    assert "Version 2 is published" in page
    assert "1 leads moved to it" in page


def test_very_many_who_would_move_are_counted_once_in_a_while(
    boss: Person, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runstore, "MANY", 0)
    at = make(boss, "Crowded")
    mail(boss, at, **{"delay.amount": "1", "delay.unit": "days"})
    publish(boss, at)
    for number, told in ((1, "Move the one who"), (2, "Move the one who")):
        api.create(f"lead{number}@shop.example")
        start = {"sequence_name": "Crowded", "step": "1"}
        api.on(f"lead{number}@shop.example", "subscribe_lead_to_sequence_at_step", **start)
        assert told in boss.get(f"{at}/publish").text
    api.server.clock.forward(minutes=6)
    assert "Move the 2 who" in boss.get(f"{at}/publish").text


def test_a_mail_is_shown_as_it_would_be_sent_and_cannot_do_anything(boss: Person) -> None:
    at = make(boss)
    mail(boss, at, kind="html", body="<p>Dear {first_name}</p><script>alert(1)</script>")
    shown = boss.get(f"{at}/mail/1")
    assert "Dear Ada" in shown.text
    policy = shown.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox;" in policy
    assert "script-src" not in policy
    page = boss.get(f"{at}/edit/step/1").text
    assert re.search(r"<iframe[^>]* sandbox(?!=)", page)
    written = boss.post(f"{at}/preview", type="email", subject="S {city}", kind="markdown", body="*Hi* {first_name}")
    assert "<em>Hi</em> Ada" in written.text
    text = boss.post(f"{at}/preview", type="email", subject="S", kind="markdown", body="*Hi* {nothing}", view="text")
    assert text.headers["content-type"].startswith("text/plain")
    boss.http.headers["hx-request"] = "true"
    around = boss.post(f"{at}/preview", type="email", subject="From {city}", kind="markdown", body="{nothing}")
    assert "From London" in around.text
    assert "nothing is called {nothing}" in around.text


def test_a_test_goes_to_the_person_and_nowhere_else(boss: Person, api: Api) -> None:
    at = make(boss)
    mail(boss, at)
    assert boss.post(f"{at}/test/1").status_code == 303
    assert "kept in the test mailbox" in boss.get(f"{at}/edit").text
    with api.server.database.read() as connection:
        kept = mailbox.kept(connection, api.account_id, 10)
    assert [(entry.recipient, entry.lead_id) for entry in kept] == [(boss.email, 0)]


def test_a_simulation_tells_every_mail_and_wait(boss: Person) -> None:
    at = make(boss, "Try", "welcome")
    page = boss.get(f"{at}/simulate?length=60+days&fields=first_name%3DAda&email=&from=&what_if=opened%3A1").text
    assert "Welcome, Ada" in page
    assert "3 mails" in page
    assert "no step 9 sends a mail" in boss.get(f"{at}/simulate?length=60+days&what_if=opened%3A9").text


def test_a_sequence_goes_out_as_text_and_comes_in_again(boss: Person) -> None:
    at = make(boss, "Travels", "welcome")
    text = boss.get(f"{at}/export").text
    assert text.startswith("[[sequences]]")
    answer = boss.post(f"{HERE}/import", text=text.replace('"Travels"', '"Arrived"'))
    assert answer.status_code == 303
    assert "Arrived" in boss.get(HERE).text


def test_a_text_cannot_name_files_of_the_server(boss: Person) -> None:
    text = '[[sequences]]\nname = "Thief"\n[[sequences.steps]]\nbox = "1"\ntype = "email"\nsubject = "x"\nfile = "/etc/x.md"\n'
    answer = boss.post(f"{HERE}/import", text=text)
    assert answer.status_code == 422
    assert "files cannot be named here" in answer.text


def test_pause_copy_and_delete(boss: Person) -> None:
    at = make(boss, "Mine", "welcome")
    publish(boss, at)
    boss.post(f"{at}/pause")
    assert "Paused" in boss.get(at).text
    boss.post(f"{at}/resume")
    copy = boss.post(f"{at}/clone").headers["location"]
    assert "Mine (copy)" in boss.get(copy).text
    assert boss.post(f"{copy}/delete").headers["location"] == HERE
    page = boss.get(HERE).text
    assert boss.get(copy).status_code == 404
    assert "Undo" in page
    sent = LexborHTMLParser(page).css_first(".notice form input[name=text]")
    assert sent is not None
    assert boss.post(f"{HERE}/import", text=sent.attributes["value"]).status_code == 303
    assert "Mine (copy)" in boss.get(HERE).text


def test_a_test_is_what_is_being_written_as_the_lead_that_is_chosen(boss: Person, api: Api) -> None:
    at = make(boss)
    mail(boss, at)
    api.create("grace@shop.example", first_name="Grace")
    boss.http.headers["hx-request"] = "true"
    written = {"type": "email", "subject": "Dear {first_name}", "kind": "markdown", "body": "*Hi*"}
    told = boss.post(f"{at}/test/1", **written, as_lead="grace@shop.example")
    assert told.status_code == 200
    assert "Sent to" in told.text
    assert "cannot be sent" in boss.post(f"{at}/test/1", **written | {"body": ""}).text
    with api.server.database.read() as connection:
        kept = mailbox.kept(connection, api.account_id, 1)
    assert kept[0].subject == "Dear Grace"


def test_the_visual_editor_gets_mjml_whatever_the_mail_was(boss: Person) -> None:
    at = make(boss)
    edit = f"{at}/edit/visual"
    form = {"type": "email", "box": "1", "subject": "Kept", "old": ""}
    shown = boss.post(edit, **form, kind="markdown", body="**Hi** {first_name|you & me}")
    assert "&lt;strong&gt;Hi&lt;/strong&gt; {first_name|you &amp; me}" in shown.text
    assert 'name="subject" value="Kept"' in shown.text
    policy = shown.headers["content-security-policy"]
    assert "style-src 'self' 'unsafe-inline';" in policy
    assert "script-src 'self';" in policy
    assert "img-src 'self' data:;" in policy
    assert "&lt;mjml&gt;&lt;/mjml&gt;" in boss.post(edit, **form, kind="mjml", body="<mjml></mjml>").text
    assert "{first_name|there}" in boss.post(edit, **form, kind="markdown", body="").text
    whole = boss.post(edit, **form, kind="html", body="<html><body>x</body></html>")
    assert "can only be edited as source" in whole.text
    assert 'name="kind" value="html"' in whole.text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.INTEGRATOR])
def test_who_only_looks_sees_no_buttons_that_do_not_work(cast: Cast, boss: Person, role: Role) -> None:
    at = make(boss, "Seen", "welcome")
    publish(boss, at)
    page = cast.person(role).get(at).text
    assert f"{at}/edit" not in page
    assert f"{at}/pause" not in page


def test_a_sequence_that_leads_were_in_is_archived_and_brought_back(boss: Person, api: Api) -> None:
    at = make(boss, "Old campaign", "welcome")
    publish(boss, at)
    api.create("ada@shop.example")
    api.on("ada@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name="Old campaign", step="1")
    assert boss.post(f"{at}/archive").headers["location"] == HERE
    page = boss.get(HERE).text
    listed, _, archived = page.partition("Archived: one")
    assert f'href="{at}"' not in listed
    assert f'href="{at}"' in archived
    assert "Bring back" in boss.get(at).text
    other = make(boss, "Another")
    choices = [f"{other}/edit/add?type=start_sequence", "/leads?and=sequence", "/mail", "/leads/1?tab=sequences"]
    assert not any("Old campaign</option>" in boss.get(path).text for path in choices)
    assert "is paused" not in boss.get("/").text
    account = api.server.run(api.server.application.batches.refresh).accounts[api.account_id]
    assert account.sequence_named("Old campaign").paused
    assert boss.post(f"{at}/back", **undo_of(page)).status_code == 303
    account = api.server.run(api.server.application.batches.refresh).accounts[api.account_id]
    assert not account.sequence_named("Old campaign").paused


def test_what_is_brought_back_later_is_paused_first(boss: Person) -> None:
    at = make(boss, "Old campaign", "welcome")
    publish(boss, at)
    boss.post(f"{at}/archive")
    boss.post(f"{at}/back")
    page = boss.get(at).text
    assert "The sequence is back. It is paused" in page
    assert f"{at}/resume" in page


def test_a_step_that_names_an_archived_sequence_keeps_it(boss: Person) -> None:
    old = make(boss, "Old campaign")
    at = make(boss, "Another")
    add(boss, at, "start_sequence", sequence="Old campaign")
    boss.post(f"{old}/archive")
    assert sent_of(boss.get(f"{at}/edit/step/1").text)["sequence"] == "Old campaign"
