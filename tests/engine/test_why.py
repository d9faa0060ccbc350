"""Why somebody got a mail or did not, in sentences that are true."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from flowworld import ACCOUNT, MAIL, NOON, Walk
from msgspec.structs import replace as changed
from sentmail import send_mail

from cartwheel.leads import mailing
from cartwheel.leads.events import (
    Event,
    ListRefused,
    MailBounced,
    MailNotSent,
    SequenceLeft,
    SequenceParked,
    SequenceRefused,
)
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Consent, Gdpr, SuppressionReason
from cartwheel.leads.leadparts import Entry as EntryRule
from cartwheel.leads.mails import Mail, MailState
from cartwheel.phrases import said
from cartwheel.sequences.flows import advance
from cartwheel.views.leadcard import Entry
from cartwheel.views.why import About, Fact, Known, explain
from commandline import Cartwheel
from harness import Api

WELCOME, OTHER = ACCOUNT.sequence_named("Welcome"), ACCOUNT.sequence_named("Other")
DAY = timedelta(days=1)
STARTED = "A call starts it, `subscribe_lead_to_sequence_at_step`, an automation, or a step of another sequence."


QUOTED = {
    "Demo",
    "Welcome",
    "Other",
    "Hello",
    "App",
    "Website",
    "smtp",
    "example",
    "mailbox",
    "full",
    "Customer",
    "News",
}
"""Names, and what servers and persons said: they are the same in each language."""


def english_left(text: str) -> set[str]:
    """The words that stay when every form is said in a language without letters."""
    told = said(text, lambda form: re.sub(r"[^\W\d_]+(?![^{]*})", "-", form))
    return set(re.findall(r"[A-Za-z]{3,}", re.sub(r"`[^`]*`|\S+@\S+|\([^()]*\)", "", told))) - QUOTED


class Case:
    """A lead in Welcome, whose mails are in the ledger."""

    def __init__(self, *steps: dict[str, Any], account: Any = ACCOUNT) -> None:
        self.walk = Walk(*(steps or (MAIL,)), account=account)
        self.account = account
        self.feed: list[Entry] = []

    @property
    def lead(self) -> Lead:
        return self.walk.lead

    def mail(self, state: MailState, **values: Any) -> Mail:
        [queued] = self.lead.outgoing
        self.lead.mails[7] = changed(queued, key=7, state=state, next_at=None, **values)
        return self.lead.mails[7]

    def happened(self, event: Event, at: datetime = NOON) -> None:
        details = {name: getattr(event, name) for name in event.__struct_fields__}
        self.feed.insert(0, Entry(at, event.kind, "", "by App Website", details))

    def facts(self, now: datetime = NOON, **asked: Any) -> list[Fact]:
        flows = {(1, 1, 1): self.walk.flow}
        found = explain(Known(self.account, self.lead, self.feed, flows), now, **asked)
        for fact in found:
            assert english_left(fact.text) == set(), "what no page can say in another language"
        return found

    def told(self, about: About, now: datetime = NOON, **asked: Any) -> list[str]:
        return [fact.text for fact in self.facts(now, **asked) if fact.about is about]

    def stops(self) -> list[str]:
        return [fact.text for fact in self.facts() if fact.stops and fact.about is About.LEAD]


# -- the lead --


def test_a_lead_that_may_be_mailed_has_nothing_against_it() -> None:
    case = Case()
    assert case.told(About.LEAD) == ["ada@shop.example is a lead of Demo since Mon 2026-03-02 13:00."]
    assert case.stops() == []


def test_a_deleted_lead_is_not_mailed() -> None:
    case = Case()
    case.lead.delete(NOON)
    assert case.stops() == ["It was deleted on Mon 2026-03-02 13:00: nothing is sent to it."]


def test_a_suppressed_address_is_not_mailed() -> None:
    case = Case()
    case.lead.suppress(SuppressionReason.HARD_BOUNCE, "550 no such user", NOON)
    assert case.stops() == ["Its address is not mailed since Mon 2026-03-02 13:00: hard bounce (550 no such user)."]


def test_temporary_failures_are_counted() -> None:
    case = Case()
    case.lead.bounced(case.lead.email, "mailbox full", NOON, hard=False, most_soft=5)
    assert "1 of 5 times in a row, the last time on Mon 2026-03-02 13:00: mailbox full" in case.told(About.LEAD)[1]
    assert case.stops() == []


def test_without_consent_the_gdpr_keeps_mail_back() -> None:
    case = Case(account=replace(ACCOUNT, gdpr=True))
    assert case.stops() == ["It has not agreed to commercial mail (consent: off), and the account is under the GDPR."]
    case.lead.consent = Consent(Gdpr.ACCEPTED, NOON, communications=True)
    assert case.stops() == []


def test_who_has_declined_is_not_mailed_in_any_account() -> None:
    case = Case()
    case.lead.agree(NOON, agreed=False)
    [told] = case.stops()
    assert told.startswith("It has declined commercial mail on ")


def test_a_lead_made_for_a_test_reaches_nobody() -> None:
    case = Case()
    case.lead.test = True
    assert case.stops() == ["An App in test mode made it: its mails go to the test mailbox, and to nobody."]


# -- its way --


def test_who_never_started_got_nothing() -> None:
    assert Case().told(About.SEQUENCE, sequence=OTHER) == [f"It was never started in the sequence Other. {STARTED}"]
    case = Case()
    case.lead.runs.clear()
    assert case.told(About.SEQUENCE) == [f"It has never been in a sequence, so no mail was ever due. {STARTED}"]


def test_who_waits_knows_for_what() -> None:
    window = {"days": ["thu"], "from": "09:00", "to": "10:00", "zone": "lead"}
    case = Case({**MAIL, "delay": "2 days", "window": window})
    assert case.told(About.SEQUENCE) == [
        "It started the sequence Welcome on Mon 2026-03-02 13:00.",
        (
            "It is at step 1 since Mon 2026-03-02 13:00 and waits until Thu 2026-03-05 09:00: "
            "2 days, then its window (thu 09:00-10:00, the lead's time)."
        ),
    ]
    case.lead.profile["lead_preferred_time_zone"] = "Asia/Tokyo"
    assert "13:00 (21:00 for the lead)" in case.told(About.SEQUENCE)[0]


def test_who_waits_for_a_condition_knows_which() -> None:
    case = Case({"type": "wait_until", "condition": {"type": "has_tag", "tag": "Customer"}, "timeout": "1 day"})
    assert case.told(About.SEQUENCE)[1].endswith(
        "waits until the lead has the tag Customer, at the latest until Tue 2026-03-03 13:00."
    )


def test_who_is_due_waits_for_a_server() -> None:
    case = Case({**MAIL, "delay": "1 day"})
    assert case.told(About.SEQUENCE, NOON + 2 * DAY)[1] == (
        "It is at step 1 and due since Tue 2026-03-03 13:00: it goes on when `cartwheel serve` or `cartwheel worker` runs."
    )


def test_a_paused_sequence_is_the_reason() -> None:
    account = replace(ACCOUNT, sequences={"welcome": replace(WELCOME, paused=True)})
    case = Case({**MAIL, "delay": "1 day"}, account=account)
    assert case.told(About.SEQUENCE)[1].startswith("It waits at step 1 because the sequence is paused")
    assert case.told(About.SEQUENCE)[2] == "`cartwheel sequence resume Welcome` lets everybody in it go on."


def test_who_left_was_taken_out_by_somebody() -> None:
    case = Case({**MAIL, "delay": "1 day"})
    case.lead.runs[1] = changed(case.walk.run, key=7)
    case.lead.unenrol(1, NOON)
    case.happened(SequenceLeft(1, "1"), NOON)
    case.happened(SequenceLeft(2, "1"), NOON + DAY)
    assert case.told(About.SEQUENCE)[1] == (
        "It left it at step 1 on Mon 2026-03-02 13:00, by App Website: from then on nothing of it is sent."
    )
    assert case.told(About.STEP) == ["No mail of step 1 (Hello): it did not come so far."]


def test_who_was_taken_out_by_a_step_still_gets_what_was_sent_before() -> None:
    case = Case(MAIL, {"type": "unsubscribe"})
    case.lead.runs[1] = changed(case.walk.run, key=7)
    case.mail(MailState.QUEUED)
    case.happened(SequenceLeft(1, "2"), NOON)
    assert case.told(About.SEQUENCE)[1] == (
        "Step 2 of it took it out on Mon 2026-03-02 13:00, by App Website: no step follows, and what the steps before"
        " sent still goes out."
    )


def test_earlier_times_are_counted_as_people_do() -> None:
    case = Case({**MAIL, "delay": "1 day"})
    for times, told in ((1, ", after 1 earlier time."), (2, ", after 2 earlier times.")):
        case.lead.runs[1] = changed(case.walk.run, earlier=(NOON,) * times)
        assert case.told(About.SEQUENCE)[0].endswith(told)


def test_who_was_not_let_in_again_knows_why() -> None:
    case = Case({**MAIL, "delay": "1 day"})
    case.lead.unenrol(1, NOON)
    case.happened(SequenceRefused(1, "1", "so it is"), NOON - DAY)
    assert not any("not let in" in text for text in case.told(About.SEQUENCE))
    case.happened(SequenceRefused(1, "1", "so it is"), NOON + DAY)
    assert case.told(About.SEQUENCE)[2] == (
        "It was not let in again on Tue 2026-03-03 13:00, by App Website: so it is."
    )


def test_a_list_that_it_was_not_put_on_is_told() -> None:
    case = Case()
    case.lead.join(1, NOON)
    case.lead.leave(1, NOON, by_lead=True)
    case.happened(ListRefused(1, "so it is"), NOON)
    assert (
        case.told(About.LEAD)[1] == "It was not put on the list News on Mon 2026-03-02 13:00, by App Website: so it is."
    )


def test_who_completed_it_has_all_that_was_for_it() -> None:
    customers = {**MAIL, "only_if": {"type": "has_tag", "tag": "Customer"}}
    case = Case(MAIL, customers, {**MAIL, "active": False})
    case.mail(MailState.ACCEPTED)
    assert case.told(About.SEQUENCE)[1] == "It completed it on Mon 2026-03-02 13:00, after step 3."
    assert case.told(About.STEP) == [
        (
            "No mail of step 2 (Hello): its way did not lead there (a split, a jump or a goal went past it, or it began further on), "
            "or it was not so that the lead has the tag Customer."
        ),
        "No mail of step 3 (Hello): the step is not active (`active = false`), so everybody is led past it.",
    ]


def test_who_is_stuck_waits_for_an_owner() -> None:
    case = Case({"type": "assign_tag", "tag": "Nobody"})
    case.happened(SequenceParked(1, "1", ""))
    assert case.told(About.SEQUENCE)[1] == (
        "It is stuck at step 1 since Mon 2026-03-02 13:00, and an owner has to see to it: There is no tag of this name: Nobody."
    )
    assert case.told(About.SEQUENCE)[2] == (
        "When the cause is mended, `cartwheel sequence unpark Welcome ada@shop.example` has it try again where it stands."
    )


def test_an_old_version_is_told() -> None:
    account = replace(ACCOUNT, sequences={"welcome": replace(WELCOME, version=3)})
    case = Case({**MAIL, "delay": "1 day"}, account=account)
    assert case.told(About.SEQUENCE)[2] == (
        "It keeps to version 1 of the steps; the newest is 3. "
        "`cartwheel sequence move Welcome --from 1` shows where it would go there."
    )


def test_steps_to_come_are_told() -> None:
    case = Case({**MAIL, "delay": "1 day"}, MAIL)
    assert case.told(About.STEP) == [
        "No mail of step 1 (Hello): it is there now.",
        "No mail of step 2 (Hello): it has not been there yet.",
    ]


# -- its mails --


@pytest.mark.parametrize(
    ("state", "values", "told"),
    [
        (
            MailState.QUEUED,
            {},
            "is queued since Mon 2026-03-02 13:00 and goes out when `cartwheel serve` or `cartwheel worker` runs.",
        ),
        (
            MailState.ACCEPTED,
            {"server": "smtp.example", "address": "ada@shop.example", "sent_at": NOON, "reply": "250 ok"},
            "was taken by smtp.example for ada@shop.example on Mon 2026-03-02 13:00: 250 ok.",
        ),
        (MailState.IN_DOUBT, {"server": "smtp.example"}, "may have been sent by smtp.example or not, nobody can tell."),
        (MailState.FAILED, {"reply": "550 no"}, "failed for good on Tue 2026-03-03 13:00: 550 no."),
        (
            MailState.FAILED,
            {"server": "smtp.example", "address": "ada@shop.example", "sent_at": NOON, "reply": "mailbox full."},
            "was taken by smtp.example for ada@shop.example on Mon 2026-03-02 13:00, and came back: mailbox full.",
        ),
        (
            MailState.SUPPRESSED,
            {"reply": "complaint"},
            "was not sent, and will not be on Tue 2026-03-03 13:00: complaint.",
        ),
    ],
)
def test_each_mail_says_what_became_of_it(state: MailState, values: dict[str, Any], told: str) -> None:
    case = Case()
    case.mail(state, **values)
    case.happened(MailNotSent(1, "1", ""), NOON + DAY)
    fact = next(fact for fact in case.facts() if fact.about is About.MAIL)
    assert fact.text == f"The mail of step 1 of Welcome (Hello) {told}"
    assert (fact.mail, fact.stops) == (7, state is not MailState.ACCEPTED)


def test_a_mail_that_is_tried_again_says_when_and_why() -> None:
    case = Case()
    mail = mailing.hand_over(case.lead, case.mail(MailState.QUEUED), "smtp.example", until=NOON + DAY)
    assert "is on its way to smtp.example (try 1); if nothing is heard by Tue" in case.told(About.MAIL)[0]
    mailing.try_later(case.lead, mail, NOON + DAY, "450 busy", soft=True)
    assert case.told(About.MAIL)[0].endswith("waits after 1 try until Tue 2026-03-03 13:00: 450 busy.")


def test_who_read_it_and_what_came_back_is_told() -> None:
    case = Case()
    case.mail(MailState.ACCEPTED, sent_at=NOON, opened_at=NOON + DAY, machine_clicked_at=NOON)
    case.happened(MailBounced(hard=False, reason="mailbox full"), NOON + DAY)
    assert case.told(About.MAIL)[1:] == [
        "It was opened on Tue 2026-03-03 13:00, and clicked by a machine on Mon 2026-03-02 13:00.",
        "After that, on Tue 2026-03-03 13:00, a mail to it came back: mailbox full.",
    ]


def test_one_mail_can_be_asked_about_alone() -> None:
    case = Case()
    case.mail(MailState.ACCEPTED, sent_at=NOON)
    assert [fact.about for fact in case.facts(mail=7)] == [About.LEAD, About.MAIL]


def test_a_resumed_wait_is_told_anew() -> None:
    case = Case({**MAIL, "delay": "2 days"})
    case.account = replace(ACCOUNT, sequences={"welcome": replace(WELCOME, resumed_at=NOON + DAY)})
    advance(case.lead, 1, case.walk.flow, case.account, NOON + DAY)
    assert "waits until Thu 2026-03-05 13:00: 2 days" in case.told(About.SEQUENCE, NOON + DAY)[1]


# -- what the lead reads, and what helps --


def test_a_subject_is_told_as_the_lead_reads_it() -> None:
    case = Case(
        {**MAIL, "subject": "Welcome, {first_name|friend}"}, {**MAIL, "delay": "1 day", "subject": "{plan} {x}"}
    )
    case.mail(MailState.ACCEPTED, sent_at=NOON)
    assert case.told(About.MAIL)[0].startswith("The mail of step 1 of Welcome (Welcome, friend) was taken")
    case.lead.fill({"first_name": "Ada\nLovelace {x}"}, {1: (7,)})
    assert "(Welcome, Ada Lovelace {x})" in case.told(About.MAIL)[0]
    assert case.told(About.STEP)[0].startswith("No mail of step 2 (Gold {x}): it is there now.")


def account_with(**values: Any) -> Any:
    return replace(ACCOUNT, sequences={"welcome": replace(WELCOME, **values)})


def left(case: Case) -> None:
    case.lead.unenrol(1, NOON)


HELPS: dict[str, tuple[Case, Callable[[Case], object], str]] = {
    "deleted": (
        Case(),
        lambda case: case.lead.delete(NOON),
        "`cartwheel lead restore ada@shop.example` brings it back.",
    ),
    "bounced": (
        Case(),
        lambda case: case.lead.suppress(SuppressionReason.HARD_BOUNCE, "", NOON),
        "`cartwheel lead allow ada@shop.example` has it mailed again: once the address works again.",
    ),
    "complained": (
        Case(),
        lambda case: case.lead.suppress(SuppressionReason.COMPLAINT, "", NOON),
        "`cartwheel lead allow ada@shop.example` has it mailed again: only if it asks for mails again.",
    ),
    "no consent": (
        Case(account=replace(ACCOUNT, gdpr=True)),
        lambda _: None,
        "If it agrees, and you can prove it: `cartwheel lead agree ada@shop.example`.",
    ),
    "test mode": (
        Case(),
        lambda case: setattr(case.lead, "test", True),
        "`cartwheel mailbox list` shows them.",
    ),
    "left, once only": (
        Case({**MAIL, "delay": "1 day"}, account=account_with(entry=EntryRule(again=False))),
        left,
        "It cannot be started again: the sequence takes each lead once (`again = false` in its entry).",
    ),
    "left, so often": (
        Case({**MAIL, "delay": "1 day"}, account=account_with(entry=EntryRule(most=2, days=30))),
        left,
        "It can be started again, 2 times in 30 days at the most.",
    ),
    "left": (Case({**MAIL, "delay": "1 day"}), left, "It can be started again."),
    "completed": (Case(), lambda _: None, "Who has completed a sequence is not started in it again."),
    "in doubt": (
        Case(),
        lambda case: case.mail(MailState.IN_DOUBT),
        "`cartwheel mail resend 7` sends it again, `cartwheel mail drop 7` leaves it at that.",
    ),
    "led elsewhere": (
        Case({"type": "go_to", "to": "3"}, MAIL, {**MAIL, "delay": "1 day"}),
        lambda _: None,
        (
            "No mail of step 2 (Hello): its way did not lead there (a split, a jump or a goal went past it, or it began "
            "further on)."
        ),
    ),
}


@pytest.mark.parametrize("situation", HELPS)
def test_what_helps_is_told(situation: str) -> None:
    case, happens, told = HELPS[situation]
    happens(case)
    assert told in [fact.text for fact in case.facts()]


# -- the command line --


def test_why_reads_all_of_it_from_the_database(api: Api, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTWHEEL_DATABASE", api.server.database.url)
    api.create("ada@shop.example")
    api.on("ada@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="A2")
    api.on("ada@shop.example", "unsubscribe_lead_from_sequence", sequence_name="Welcome")
    account = api.server.application.batches.catalog.accounts[api.account_id].name
    told = cartwheel("why", "ada@shop.example", "--account", account, "--json").json
    texts = [fact["text"] for fact in told["facts"]]
    assert texts[0].startswith(f"ada@shop.example is a lead of {account} since ")
    assert any("left it at step A2 on" in text and "by App Website" in text for text in texts)
    shown = cartwheel("why", "ada@shop.example", "welcome", "--account", account).out
    assert "by App Website: from then on nothing of it is sent." in shown
    assert f"{account} has no sequence 77, and ada@shop.example no mail 77; there are: Welcome" in (
        cartwheel("why", "ada@shop.example", "77", "--account", account).trouble
    )
    for more in ([], ["--json"]):
        nobody = cartwheel("why", "nobody@shop.example", "--account", account, *more)
        assert (nobody.code, nobody.out) == (1, "")
        assert nobody.trouble == (
            f"cartwheel: {account} has no lead nobody@shop.example: it was never added, or has another address now"
        )
    assert cartwheel("why", "987654", "--account", account).trouble.startswith(
        f"cartwheel: {account} has no lead 987654"
    )


def test_why_finds_a_mail_by_its_message_id(api: Api, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTWHEEL_DATABASE", api.server.database.url)
    sent, other = send_mail(api), send_mail(api, "grace@shop.example")
    account = api.server.application.batches.catalog.accounts[api.account_id].name
    message_id = sent.signer.message_id(sent.id, "shop.example")
    for name in (message_id, message_id.strip("<>"), str(sent.id.mail_id)):
        facts = cartwheel("why", sent.email, name, "--account", account, "--json").json["facts"]
        assert {fact["mail"] for fact in facts} == {None, sent.id.mail_id}
    for name in (other.signer.message_id(other.id, "shop.example"), "made-up@shop.example"):
        refused = cartwheel("why", sent.email, name, "--account", account)
        assert (refused.code, f"{sent.email} no mail {name}" in refused.trouble) == (1, True)
