"""What a simulated lead goes through is what a real one would."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import tomli_w
from flowworld import MAIL

from cartwheel.accountfiles import accountfile
from cartwheel.data import schema
from cartwheel.errors import BadAccountFile, CartwheelError
from cartwheel.simulation import simulator
from cartwheel.simulation.whatifs import BadWhatIf
from cartwheel.testing import BadSimulation, Ended, Story, What, simulate
from commandline import Cartwheel
from harness import DEMO, Api

MADRID = ZoneInfo("Europe/Madrid")

SHOP: dict[str, Any] = {
    "account": {
        "name": "Shop",
        "timezone": "Europe/Madrid",
        "mail": {"sender": "hello@shop.example", "address": "1 Example Road"},
    },
    "lists": [{"name": "News"}],
    "tags": [{"name": "Customer"}, {"name": "Trial"}],
    "custom_fields": [
        {"identifier": "plan", "type": "drop_down", "options": [{"name": "Gold"}, {"name": "Silver"}]},
        {"identifier": "likes", "type": "checkbox", "options": [{"name": "Peas"}, {"name": "Beans"}]},
        {"identifier": "Size", "type": "input_field"},
    ],
}

CUSTOMER = {"type": "has_tag", "tag": "Customer"}


class Shop:
    """Account files of one sequence, Welcome, and stories of it that begin on Monday, January 4, 2027, at 09:00."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "account.toml"

    def write(self, *steps: dict[str, Any], also: Sequence[Any] = (), **parts: Any) -> Path:
        numbered = [{"box": str(number), **step} for number, step in enumerate(steps, 1)]
        sequences = [{"name": "Welcome", "steps": numbered}, *also]
        self.path.write_text(tomli_w.dumps({**SHOP, **parts, "sequences": sequences}))
        return self.path

    def story(self, *steps: dict[str, Any], also: Sequence[Any] = (), **asked: Any) -> Story:
        return simulate(self.write(*steps, also=also), "Welcome", **asked)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def mailed(story: Story) -> list[tuple[str, str]]:
    return [(mail.box, f"{mail.at:%a %d %H:%M}") for mail in story.mails]


def lines(story: Story, what: What) -> list[str]:
    return [event.text for event in story.events if event.what is what]


# -- time --


def test_delays_and_windows_pass_in_no_time(shop: Shop) -> None:
    window = {"days": ["mon"], "from": "10:00", "to": "11:00"}
    story = shop.story(MAIL, {**MAIL, "delay": "2 days"}, {**MAIL, "delay": "1 day", "window": window})
    assert mailed(story) == [("1", "Mon 04 09:00"), ("2", "Wed 06 09:00"), ("3", "Mon 11 10:00")]
    assert story.ended is Ended.COMPLETED
    assert story.ended_at == datetime(2027, 1, 11, 10, tzinfo=MADRID)
    assert lines(story, What.WAITS) == [
        "until Wed 2027-01-06 09:00: 2 days",
        "until Mon 2027-01-11 10:00: 1 day, then its window (mon 10:00-11:00, the account's time)",
    ]


def test_a_window_in_the_leads_zone_is_told_in_both(shop: Shop) -> None:
    step = {**MAIL, "window": {"from": "09:00", "to": "10:00", "zone": "lead"}}
    story = shop.story(step, fields={"lead_preferred_time_zone": "Asia/Tokyo"})
    assert mailed(story) == [("1", "Tue 05 01:00")]
    [wait] = lines(story, What.WAITS)
    assert wait == (
        "until Tue 2027-01-05 01:00 (09:00 for the lead): its window (every day 09:00-10:00, the lead's time)"
    )


@pytest.mark.parametrize(
    ("start", "begins"),
    [
        ("2026-12-01", "2026-12-01 00:00:00+01:00"),
        ("2026-12-01 09:30", "2026-12-01 09:30:00+01:00"),
        ("2026-12-01T09:30", "2026-12-01 09:30:00+01:00"),
        ("2026-12-01T09:30:15", "2026-12-01 09:30:15+01:00"),
        ("2026-12-01T09:30Z", "2026-12-01 10:30:00+01:00"),
        ("2026-07-01T09:30-04:00", "2026-07-01 15:30:00+02:00"),
        ("2027-03-28 02:30", "2027-03-28 03:00:00+02:00"),
    ],
)
def test_it_starts_at_a_date_or_a_time(shop: Shop, start: str, begins: str) -> None:
    assert str(shop.story(MAIL, start=start).start) == begins


def test_a_day_has_24_hours_when_the_clocks_change(shop: Shop) -> None:
    story = shop.story({**MAIL, "delay": "1 day"}, start="2027-03-27 20:00")
    assert mailed(story) == [("1", "Sun 28 21:00")]
    assert lines(story, What.WAITS) == ["until Sun 2027-03-28 21:00: 1 day (the clocks change meanwhile)"]


def test_a_sequence_without_end_ends_when_the_time_is_up(shop: Shop) -> None:
    story = shop.story(MAIL, {"type": "go_to", "delay": "1 week", "to": "1"}, length="3 weeks")
    assert [box for box, _ in mailed(story)] == ["1"] * 4
    assert story.ended is Ended.TIME_IS_UP
    assert story.reason == "until Mon 2027-02-01 09:00: 1 week"


def test_a_sequence_that_is_too_busy_ends_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "MOST_MOMENTS", 10)
    story = shop.story(MAIL, {"type": "go_to", "delay": "1 minute", "to": "1"})
    assert len(story.mails) == 10
    assert story.notes == ["the story ends here because it has 10 moments already"]


# -- mails --


def test_mails_are_as_the_lead_would_read_them(shop: Shop) -> None:
    step = {"type": "email", "subject": "Hi {first_name|you}", "html": "<p>{plan}, {likes}, {Size}, {nothing}</p>"}
    fields = {"first_name": "<Ada>", "plan": "gold", "likes": "Peas;Beans", "Size": "7"}
    [mail] = shop.story(step, fields=fields).mails
    assert mail.subject == "Hi <Ada>"
    assert "<p>Gold, Peas, Beans, 7, {nothing}</p>" in mail.html
    assert "Gold, Peas, Beans, 7" in mail.text
    assert "1 Example Road" in mail.text


def test_who_is_not_to_be_mailed_goes_on_without(shop: Shop) -> None:
    story = shop.story(MAIL, {**MAIL, "delay": "2 days"}, what_if=["bounce@1d"])
    assert mailed(story) == [("1", "Mon 04 09:00")]
    assert lines(story, What.NO_MAIL) == ["hard bounce: no such address"]
    assert story.ended is Ended.COMPLETED


def test_without_consent_the_gdpr_keeps_mail_back(shop: Shop) -> None:
    path = shop.write(MAIL, account={"name": "Shop", "gdpr": True})
    assert len(simulate(path, "Welcome").mails) == 1
    story = simulate(path, "Welcome", consent=False)
    assert (story.mails, lines(story, What.NO_MAIL)) == ([], ["the lead has not agreed to commercial mail"])


def test_a_mail_for_some_is_not_sent_to_others(shop: Shop) -> None:
    story = shop.story({**MAIL, "only_if": CUSTOMER})
    assert lines(story, What.NO_MAIL) == ["only if the lead has the tag Customer"]
    assert len(shop.story({**MAIL, "only_if": CUSTOMER}, tags=["Customer"]).mails) == 1


# -- what is told of mails --


def test_what_will_hardly_be_meant_so_is_noted_once(shop: Shop) -> None:
    mail = {**MAIL, "html": '<p>{frist_name}</p><img src="../pics/beans.png"><img src="https://shop.example/peas.png">'}
    story = shop.story(mail, {"type": "go_to", "delay": "1 day", "to": "1"}, length="3 days")
    assert len(story.mails) == 4
    assert story.notes == [
        "step 1: nothing is called {frist_name}, it stays as it is",
        (
            "step 1: no reader sees the picture ../pics/beans.png: "
            "give `cid:` with the `inline` of an attachment, or an https address"
        ),
    ]


def test_a_sender_that_is_missing_is_noted(shop: Shop) -> None:
    nobody = {"name": "Shop", "timezone": "Europe/Madrid"}
    assert simulate(shop.write(MAIL, account=nobody), "Welcome").notes == [
        "with a real mail server no mail leaves: the account has no sender: give `[account.mail] sender`"
    ]
    assert simulate(shop.write({**MAIL, "sender": "me@shop.example"}, account=nobody), "Welcome").notes == []


def test_a_mail_is_printed_as_the_lead_would_read_it(shop: Shop, cartwheel: Cartwheel) -> None:
    step = {"type": "email", "subject": "Hi {first_name}", "markdown": "Dear {first_name},\n\n* beans"}
    path = str(shop.write(step, {**MAIL, "ends": True}, MAIL))
    asked = ("simulate", "Welcome", "--file", path, "--fields", "first_name=Ada", "--from", "2027-01-04T09:00")
    printed = cartwheel(*asked, "--mail", "1").out
    assert printed.startswith("Mon 2027-01-04 09:00\nHi Ada\n\nDear Ada,\n")
    assert "1 Example Road" in printed
    [mail] = json.loads(cartwheel(*asked, "--mail", "1", "--json").out)["mails"]
    assert (mail["subject"], mail["box"]) == ("Hi Ada", "1")
    assert cartwheel(*asked, "--mail", "3").trouble == "cartwheel: the lead gets no mail of step 3, but of 1, 2"
    assert "--mail shows what one lead gets" in cartwheel(*asked, "--mail", "1", "--leads", "9").trouble


# -- what if --


@pytest.mark.parametrize(
    ("what_if", "boxes"),
    [
        ([], ["1", "2", "3"]),
        (["opened:1"], ["1", "2", "4"]),
        (["clicked:1@23h"], ["1", "2", "4"]),
        (["opened:1@25h"], ["1", "2", "3"]),
    ],
)
def test_whether_a_mail_was_opened_in_time_decides(shop: Shop, what_if: list[str], boxes: list[str]) -> None:
    split = {"type": "split", "delay": "1 day", "condition": {"type": "opened", "box": "1"}, "then": "4"}
    assert shop.story(MAIL, split, {**MAIL, "ends": True}, MAIL, what_if=what_if).boxes == boxes


@pytest.mark.parametrize(("what_if", "seconds"), [("clicked:1", 1), ("opened:1", 0)])
def test_opening_is_no_clicking(shop: Shop, what_if: str, seconds: int) -> None:
    wait = {"type": "wait_until", "condition": {"type": "clicked", "box": "1"}}
    story = shop.story(MAIL, wait, MAIL, what_if=[what_if])
    assert len(story.mails) == 1 + seconds


def test_an_event_wakes_who_waits_for_it(shop: Shop) -> None:
    wait = {"type": "wait_until", "condition": CUSTOMER}
    assert mailed(shop.story(wait, MAIL, what_if=["tag:customer@3d"])) == [("2", "Thu 07 09:00")]
    story = shop.story(wait, MAIL)
    assert (story.ended, story.reason) == (Ended.WAITING, "until the lead has the tag Customer")


def test_what_waits_does_so_since_it_began_to(shop: Shop) -> None:
    goal = {"type": "goal", "delay": "1 day", "condition": CUSTOMER, "unmet": "wait"}
    story = shop.story({"type": "points", "points": 5, "days": 9}, goal)
    assert lines(story, What.DOES)[-1].startswith("5 points expired")
    assert (story.ended, story.ended_at) == (Ended.WAITING, datetime(2027, 1, 5, 9, tzinfo=MADRID))


def test_a_goal_is_jumped_to(shop: Shop) -> None:
    goal = {"type": "goal", "condition": CUSTOMER}
    story = shop.story({**MAIL, "delay": "1 week"}, goal, MAIL, what_if=["tag:Customer@2d"])
    assert mailed(story) == [("3", "Wed 06 09:00")]
    assert lines(story, What.GOES)[0] == "ahead to the goal 2: the lead has the tag Customer"


@pytest.mark.parametrize(
    ("what_if", "ended"),
    [("leave@1d", Ended.LEFT), ("delete@1d", Ended.LEFT), ("complaint@1d", Ended.LEFT)],
)
def test_leaving_ends_it(shop: Shop, what_if: str, ended: Ended) -> None:
    story = shop.story(MAIL, {**MAIL, "delay": "2 days"}, what_if=[what_if])
    assert [mail.box for mail in story.mails] == ["1"]
    assert story.ended is ended


def test_everything_can_happen_to_a_lead(shop: Shop) -> None:
    what_if = [
        "tag:Trial",
        "untag:Customer",
        "list:News@1h",
        "points:5",
        "points:-2",
        "field:city=Paris",
        "field:plan=Gold",
    ]
    step = {**MAIL, "delay": "1 day", "subject": "{city} {plan} {score}"}
    story = shop.story(step, tags=["Customer"], what_if=what_if)
    assert (story.tags, story.lists, story.mails[0].subject) == ({"Trial"}, {"News"}, "Paris Gold 3")


def test_a_date_can_be_given_instead_of_a_time(shop: Shop) -> None:
    story = shop.story({**MAIL, "delay": "3 days"}, what_if=["leave@2027-01-06T10:30"])
    assert story.ended_at == datetime(2027, 1, 6, 10, 30, tzinfo=MADRID)


def test_a_mail_that_was_never_sent_cannot_be_opened(shop: Shop) -> None:
    story = shop.story({**MAIL, "ends": True}, MAIL, what_if=["opened:2"])
    assert story.notes == ["opened:2 did not happen: the mail of step 2 was not sent"]


@pytest.mark.parametrize("day", ["1d", "24h", "24 hours", "1 day", "1440m"])
def test_times_are_understood_alike_everywhere(shop: Shop, day: str) -> None:
    story = shop.story({**MAIL, "delay": "3 days"}, length=day)
    assert story.until == datetime(2027, 1, 5, 9, tzinfo=MADRID)
    story = shop.story({**MAIL, "delay": "3 days"}, what_if=[f"leave@{day}"])
    assert story.ended_at == datetime(2027, 1, 5, 9, tzinfo=MADRID)


# -- ways --


def test_other_sequences_are_gone_through_too(shop: Shop) -> None:
    other = {"name": "Other", "steps": [{"box": "1", **MAIL, "delay": "1 day"}]}
    story = shop.story({"type": "start_sequence", "sequence": "Other"}, MAIL, also=[other])
    assert [(mail.sequence, mail.box) for mail in story.mails] == [("Welcome", "2"), ("Other", "1")]


def test_a_second_time_has_mails_of_its_own(shop: Shop) -> None:
    """The first time's mail is opened during the second time, which does not ask about it."""
    other = {
        "name": "Other",
        "steps": [{"box": "1", "type": "start_sequence", "sequence": "Welcome", "delay": "1 day"}],
    }
    story = shop.story(
        MAIL,
        {"type": "split", "delay": "1 day", "condition": {"type": "opened", "box": "1"}, "then": "5"},
        {"type": "start_sequence", "sequence": "Other"},
        {"type": "unsubscribe"},
        {"type": "complete"},
        also=[other],
        what_if=["opened:1@60h"],
        length="3 days",
    )
    assert story.boxes == ["1", "2", "3", "4", "1", "2", "3", "4"]


def test_points_expire_meanwhile(shop: Shop) -> None:
    gone = {"type": "score", "at_most": 0}
    points = {"type": "points", "points": 5, "days": 3}
    story = shop.story(points, {"type": "wait_until", "condition": gone}, MAIL)
    assert mailed(story) == [("3", "Thu 07 09:00")]


def test_a_run_that_cannot_go_on_says_why(shop: Shop) -> None:
    story = shop.story({"type": "go_to", "to": "2"}, {"type": "go_to", "to": "1"})
    assert story.ended is Ended.PARKED
    assert "looks like a circle" in story.reason


def test_steps_that_do_nothing_are_told(shop: Shop) -> None:
    tag = {"type": "assign_tag", "tag": "Trial"}
    story = shop.story({**MAIL, "active": False}, tag, tag, {"type": "complete"})
    assert [(event.box, event.what, event.text) for event in story.events[1:4]] == [
        ("1", What.GOES, "by: the step is not active"),
        ("2", What.DOES, "Got the tag Trial"),
        ("3", What.DOES, "nothing that was not so before"),
    ]


def test_a_paused_sequence_is_shown_as_if_it_ran(shop: Shop) -> None:
    also = [{"name": "Held", "paused": True, "steps": [{"box": "1", **MAIL}]}]
    path = shop.write(MAIL, also=also)
    story = simulate(path, "Held")
    assert len(story.mails) == 1
    assert story.notes == ["the sequence is paused: this is what happens when it is not"]


def test_it_starts_at_the_step_asked_for(shop: Shop) -> None:
    assert shop.story(MAIL, MAIL, MAIL, step="2").boxes == ["2", "3"]


def test_leads_of_different_numbers_go_different_ways(shop: Shop) -> None:
    split = {"type": "random_split", "branches": [{"to": "2", "weight": 1}, {"to": "3", "weight": 1}]}
    path = shop.write(split, {**MAIL, "ends": True}, MAIL)
    ways = [simulate(path, "Welcome", number=number).boxes[-1] for number in range(1, 30)]
    assert set(ways) == {"2", "3"}
    assert ways == [simulate(path, "Welcome", number=number).boxes[-1] for number in range(1, 30)]


# -- mistakes --


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"sequence": "Welcom"}, BadSimulation, "there is no sequence Welcom; there are: Welcome"),
        ({"step": "9"}, BadSimulation, "the sequence Welcome has no step 9, but 1"),
        ({"fields": {"town": "Paris"}}, BadSimulation, "there is no field town"),
        ({"fields": {"plan": "Bronze"}}, BadSimulation, "field plan has no option Bronze, but Gold, Silver"),
        ({"tags": ["Nobody"]}, BadSimulation, "There is no tag of this name: Nobody"),
        ({"what_if": ["tag:Nobody@90d"]}, BadWhatIf, "what if 'tag:Nobody@90d': There is no tag of this name: Nobody"),
        ({"what_if": ["sleeps"]}, BadWhatIf, "what if 'sleeps': there is no sleeps, but bounce, clicked,"),
        ({"what_if": ["opened"]}, BadWhatIf, "what if 'opened': opened of what?"),
        ({"what_if": ["leave:1"]}, BadWhatIf, "what if 'leave:1': leave stands alone"),
        ({"what_if": ["opened:1@soon"]}, BadWhatIf, "what if 'opened:1@soon': give a time like 30m, 3h, 2d, 1w"),
        ({"what_if": ["opened:1@11y"]}, BadWhatIf, "what if 'opened:1@11y': give a time like"),
        ({"what_if": ["opened:1@999999w"]}, BadWhatIf, "what if 'opened:1@999999w': a lead waits ten years"),
        ({"what_if": ["opened:17"]}, BadWhatIf, "what if 'opened:17': no step 17 sends a mail, but 1"),
        ({"what_if": ["points:many"]}, BadWhatIf, "what if 'points:many': points are a whole number"),
        ({"what_if": ["points:1_0"]}, BadWhatIf, "what if 'points:1_0': points are a whole number"),
        ({"fields": {"email": "bad"}}, BadSimulation, "'bad' is no e-mail address"),
        ({"what_if": ["!"]}, BadWhatIf, "what if '!': give something like opened:2"),
        ({"start": "tomorrow"}, CartwheelError, "time 'tomorrow': give a date, or a date and a time"),
        ({"start": "0001-01-01"}, CartwheelError, "time '0001-01-01': give a date, or a date and a time"),
        ({"start": "2026-13-01"}, CartwheelError, "time '2026-13-01': give a date, or a date and a time"),
        ({"length": "long"}, CartwheelError, "time 'long': give a time like 30m, 3h, 2d"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_mistakes_are_told(shop: Shop, asked: dict[str, Any], error: type[Exception], message: str) -> None:
    asked = {"sequence": "Welcome", **asked}
    with pytest.raises(error) as trouble:
        simulate(shop.write(MAIL), **asked)
    assert str(trouble.value).startswith(message)


def test_mistakes_in_the_file_are_told(shop: Shop) -> None:
    with pytest.raises(BadAccountFile, match="box 1: there is no box 7 to go to"):
        shop.story({**MAIL, "next": "7"})


# -- the command line --


def test_a_lead_of_the_database_is_taken_as_it_is(
    api: Api, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARTWHEEL_DATABASE", api.server.database.url)
    api.create("ada@shop.example", first_name="Ada")
    account = api.server.application.batches.catalog.accounts[api.account_id].name
    asked = ("simulate", "Welcome", "--account", account, "--from", "2026-12-01T09:00", "--json")
    told = cartwheel(*asked, "--lead", "ada@shop.example").json
    assert [(mail["box"], mail["subject"]) for mail in told["mails"]][:2] == [
        ("1", "Welcome, Ada"),
        ("2", "Three things to try"),
    ]
    assert told["ended"]["how"] == "completed"
    assert api.lead("ada@shop.example")["sequences"] == []
    assert [api.rows(table) for table in (schema.enrolments, schema.mails)] == [[], []]
    assert "is not under way" in cartwheel(*asked, "--lead", "ada@shop.example", "--onward").trouble


def test_onward_goes_on_from_where_the_lead_stands(
    api: Api, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARTWHEEL_DATABASE", api.server.database.url)
    api.create("ada@shop.example")
    api.on("ada@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="2")
    account = api.server.application.batches.catalog.accounts[api.account_id].name
    asked = ("simulate", "Welcome", "--account", account, "--lead", "ada@shop.example", "--json")
    changed = DEMO.replace("Three things to try", "Four things to try").replace('"Demo"', f'"{account}"')
    part = accountfile.read_text(
        changed[: changed.index("[[apps]]")] + changed[changed.index("[[sequences]]") :], Path()
    )
    accountfile.apply(api.server.database, part, api.server.clock())
    told = cartwheel(*asked, "--onward", "--from", "2026-12-01T09:00").json
    assert [mail["subject"] for mail in told["mails"]] == ["Three things to try", "How is it going?"]
    anew = cartwheel(*asked, "--from", "2026-12-01T09:00").json
    assert [mail["subject"] for mail in anew["mails"]][1] == "Four things to try"
    assert anew["notes"][0] == "it was in this sequence before (active at step 2)"


def test_many_leads_are_counted_at_each_step(shop: Shop, cartwheel: Cartwheel) -> None:
    split = {"type": "random_split", "branches": [{"to": "2", "weight": 1}, {"to": "3", "weight": 3}]}
    path = shop.write(split, {**MAIL, "ends": True}, MAIL)
    told = cartwheel("simulate", "Welcome", "--file", path, "--leads", 400, "--json").json
    counted = {step["box"]: (step["came"], step["mails"]) for step in told["steps"]}
    assert counted["1"] == (400, 0)
    assert counted["2"][0] + counted["3"][0] == 400
    assert 70 < counted["2"][0] < 130
    assert told["ended"] == {"completed": 400}
    shown = cartwheel("simulate", "Welcome", "--file", path, "--leads", 400).out
    assert "400 completed." in shown


@pytest.mark.parametrize("more", [("--lead", "ada@shop.example"), ("--account", "Shop")])
def test_a_file_is_asked_alone(shop: Shop, cartwheel: Cartwheel, more: tuple[str, str]) -> None:
    ran = cartwheel("simulate", "Welcome", "--file", shop.write(MAIL), *more)
    assert ran.code == 2
    assert "with --file there is no --account and no --lead" in ran.trouble


def test_a_gap_in_a_subject_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "account.toml"
    steps = '[[sequences.steps]]\nbox = "1"\ntype = "email"\nsubject = "Hello {first_name}, {city|there}"\nhtml = "x"\n'
    mail = '[account.mail]\nsender = "a@shop.example"\n'
    file.write_text(f'[account]\nname = "Shop"\n{mail}[[sequences]]\nname = "Welcome"\n{steps}')
    noted = "step 1: {first_name} in the subject is empty for this lead; {first_name|…} says what stands there instead"
    assert simulate(file, "Welcome").notes == [noted]
    assert simulate(file, "Welcome", fields={"first_name": "Ada"}).notes == []
