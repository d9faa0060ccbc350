"""Who comes back to a sequence or a list, and who does not: what a person said holds against steps, not against calls."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from office import Office, mails, states

from cartwheel.accountfiles import accountfile
from cartwheel.bounces.reports import Kind, Report
from cartwheel.data import schema
from cartwheel.leads.mails import MailState
from cartwheel.mail.links import MailId
from cartwheel.sending.tracking import BounceWork, Choice, ChoiceWork, FarewellWork, LeaveWork, RejoinWork
from cartwheel.work.batches import Work
from commandline import Cartwheel
from harness import Api, Server

ADA = "ada@shop.example"
MAIL = {"type": "email", "subject": "Hello", "html": "<p>Hello</p>"}
LATER = MAIL | {"delay": "9 days"}
STARTS_FLOW = {"type": "start_sequence", "sequence": "Flow"}
JOINS_NEWS = {"type": "subscribe_list", "list": "News"}
ITSELF = "it has left it itself, and only a call or an owner brings it back"


@pytest.fixture
def office(server: Server) -> Iterator[Office]:
    with closing(Office(server)) as running:
        yield running


class Shop:
    """An account with the sequences Flow and Offer and the list News, and Ada."""

    def __init__(self, api: Api, office: Office) -> None:
        self.api, self.office = api, office
        api.call({"cmd": "retrieve_account_tags"})  # known to the server's catalog
        self.name = api.server.application.batches.catalog.accounts[api.account_id].name
        api.create(ADA)

    def publish(self, *, offer: Any, flow: Any = (MAIL, LATER), entry: Any = None) -> None:
        def numbered(steps: Any) -> list[Any]:
            return [{"box": str(number), **step} for number, step in enumerate(steps, 1)]

        file = {
            "account": {"name": self.name},
            "lists": [{"name": "News"}],
            "sequences": [
                {"name": "Flow", "steps": numbered(flow), "entry": entry or {}},
                {"name": "Offer", "steps": numbered(offer)},
            ],
        }
        wanted = accountfile.read_text(tomli_w.dumps(file), Path())
        accountfile.apply(self.api.server.database, wanted, self.api.server.clock())

    def start(self, name: str) -> None:
        self.api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name=name, step="1")
        self.office.settle()

    def does(self, work: Work[Any]) -> Any:
        return self.api.server.run(lambda: self.api.server.application.batches.submit(work))

    @property
    def lead(self) -> tuple[int, int]:
        return (self.api.account_id, int(self.api.lead(ADA)["id"]))

    @property
    def mail(self) -> MailId:
        return MailId(*self.lead, mails(self.api, ADA)[0].key)

    def runs(self, name: str) -> list[str]:
        """The statuses of Ada's runs through it, the oldest first."""
        [sequence] = self.api.rows(schema.sequences, name=name)
        rows = self.api.rows(schema.enrolments, sequence_id=sequence["id"])
        return [row["status"] for row in sorted(rows, key=lambda row: row["id"])]

    def told(self, kind: str) -> list[Any]:
        return [details for told, details in self.api.events(str(self.lead[1])) if told == kind]

    def on_news(self) -> bool:
        return any(row["left_at"] is None for row in self.api.rows(schema.lead_lists))


@pytest.fixture
def shop(api: Api, office: Office) -> Shop:
    return Shop(api, office)


def choice(shop: Shop) -> Work[Any]:
    """Neither the list nor the sequence on the page of preferences any more."""
    lists = [row["id"] for row in shop.api.rows(schema.lists, name="News")]
    sequences = [row["id"] for row in shop.api.rows(schema.sequences, name="Flow")]
    return ChoiceWork(shop.lead, Choice(lists, [], sequences, []))


def complaint(shop: Shop) -> Work[Any]:
    return BounceWork(shop.lead, shop.mail.mail_id, Report(kind=Kind.COMPLAINT, recipient=ADA))


BY_THE_PERSON: dict[str, Callable[[Shop], Work[Any]]] = {
    "one click": lambda shop: LeaveWork(shop.mail),
    "page": choice,
    "everything": lambda shop: FarewellWork(shop.lead, None),
    "complaint": complaint,
}


@pytest.mark.parametrize("way", BY_THE_PERSON)
def test_who_has_left_a_sequence_is_not_put_back_by_a_step(
    shop: Shop, way: str, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.publish(offer=[STARTS_FLOW])
    shop.start("Flow")
    shop.does(BY_THE_PERSON[way](shop))
    shop.start("Offer")
    assert shop.runs("Flow") == ["unsubscribed"]
    assert states(shop.api, ADA) == [("1", MailState.ACCEPTED)]
    assert [told["reason"] for told in shop.told("sequence_refused")] == [ITSELF]
    monkeypatch.setenv("CARTWHEEL_DATABASE", shop.api.server.database.url)
    why = cartwheel("why", ADA, "Flow", "--account", shop.name).out.replace("\n", " ")
    assert "It was not let in again on" in why
    assert f"by the sequence Offer: {ITSELF}." in why
    assert f"Flow: {ITSELF}" in cartwheel("lead", "show", ADA, "--account", shop.name).out.replace("\n", " ")


def test_whom_an_app_or_a_step_took_out_a_step_may_start_again(shop: Shop) -> None:
    shop.publish(offer=[STARTS_FLOW])
    shop.start("Flow")
    shop.api.on(ADA, "unsubscribe_lead_from_sequence", sequence_name="Flow")
    shop.start("Offer")
    assert shop.runs("Flow") == ["unsubscribed", "active"]


def test_a_call_starts_whoever_left_again_and_then_steps_may_too(shop: Shop) -> None:
    shop.publish(offer=[{"type": "stop_sequence", "sequence": "Flow"}, STARTS_FLOW])
    shop.start("Flow")
    shop.does(LeaveWork(shop.mail))
    shop.start("Flow")
    assert shop.runs("Flow") == ["unsubscribed", "active"]
    shop.start("Offer")
    assert shop.runs("Flow") == ["unsubscribed", "unsubscribed", "active"]
    assert shop.told("sequence_refused") == []


def test_who_leaves_what_had_ended_itself_has_left_it(shop: Shop) -> None:
    shop.publish(flow=[MAIL, {"type": "unsubscribe"}], offer=[STARTS_FLOW])
    shop.start("Flow")
    shop.does(LeaveWork(shop.mail))
    shop.start("Offer")
    assert shop.runs("Flow") == ["unsubscribed"]


def test_who_takes_the_leaving_back_has_not_left(shop: Shop) -> None:
    shop.publish(offer=[STARTS_FLOW])
    shop.start("Flow")
    _, left = shop.does(LeaveWork(shop.mail))
    shop.does(RejoinWork(shop.lead, left))
    shop.api.on(ADA, "unsubscribe_lead_from_sequence", sequence_name="Flow")
    shop.start("Offer")
    assert shop.runs("Flow") == ["unsubscribed", "active"]


@pytest.mark.parametrize("way", ["page", "everything"])
def test_a_list_that_the_lead_has_left_is_not_joined_by_a_step(shop: Shop, way: str) -> None:
    shop.publish(offer=[JOINS_NEWS])
    shop.api.on(ADA, "subscribe_lead_to_list", list_name="News")
    shop.does(BY_THE_PERSON[way](shop))
    shop.start("Offer")
    assert not shop.on_news()
    assert [told["reason"] for told in shop.told("list_refused")] == [ITSELF]
    shop.api.on(ADA, "subscribe_lead_to_list", list_name="News")
    assert shop.on_news()


def test_a_list_that_an_app_took_the_lead_off_is_joined_by_a_step(shop: Shop) -> None:
    shop.publish(offer=[JOINS_NEWS])
    shop.api.on(ADA, "subscribe_lead_to_list", list_name="News")
    shop.api.on(ADA, "unsubscribe_lead_from_list", list_name="News")
    shop.does(choice(shop))  # the page shows it as left, and the lead leaves it so: that is no leaving
    shop.start("Offer")
    assert shop.on_news()


def test_who_leaves_everything_means_also_a_list_that_an_app_took_it_off(shop: Shop) -> None:
    shop.publish(offer=[JOINS_NEWS])
    shop.api.on(ADA, "subscribe_lead_to_list", list_name="News")
    shop.api.on(ADA, "unsubscribe_lead_from_list", list_name="News")
    shop.does(FarewellWork(shop.lead, None))
    shop.start("Offer")
    assert not shop.on_news()
    assert len(shop.told("list_left")) == 1


# -- rules of entry --


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"again": False}, "who has left it may not come back (`again` of its entry)"),
        ({"most": 1, "days": 7}, "a lead starts it once in 7 days at the most, and this one has"),
    ],
)
def test_a_refusal_of_entry_is_told(
    shop: Shop, entry: Any, reason: str, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.publish(offer=[STARTS_FLOW], entry=entry)
    shop.start("Flow")
    shop.api.on(ADA, "unsubscribe_lead_from_sequence", sequence_name="Flow")
    answer = shop.api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="1")
    assert answer["actions"][0]["subscribe_lead_to_sequence_at_step"]["type"] == "107"
    shop.start("Offer")
    assert [told["reason"] for told in shop.told("sequence_refused")] == [reason] * 2
    assert shop.runs("Flow") == ["unsubscribed"]
    monkeypatch.setenv("CARTWHEEL_DATABASE", shop.api.server.database.url)
    asked = ("simulate", "Flow", "--account", shop.name, "--lead", ADA, "--json")
    first, *events = cartwheel(*asked, "--from", f"{shop.api.server.clock():%Y-%m-%dT%H:%MZ}").json["events"]
    assert (first["what"], first["text"]) == (
        "refused", f"it would not be let in: {reason}. This is what would happen if it were",
    )  # fmt: skip
    assert events[0]["what"] == "starts"


def test_a_refusal_is_stored_though_the_clock_is_set_back(shop: Shop) -> None:
    """It changes nothing of the lead, and its event has to find a number all the same."""
    shop.publish(offer=[MAIL], entry={"again": False})
    shop.start("Flow")
    shop.api.on(ADA, "unsubscribe_lead_from_sequence", sequence_name="Flow")
    newest = max(row["id"] for row in shop.api.rows(schema.events))
    shop.api.server.clock.forward(hours=-1)
    shop.api.server.forgive()
    shop.api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="1")
    [refused] = shop.api.rows(schema.events, kind="sequence_refused")
    assert refused["id"] > newest


def test_two_sequences_that_start_each_other_end(shop: Shop) -> None:
    """Each takes the other out before it starts it, without any pause."""
    shop.publish(
        flow=[{"type": "stop_sequence", "sequence": "Offer"}, {"type": "start_sequence", "sequence": "Offer"}, LATER],
        offer=[{"type": "stop_sequence", "sequence": "Flow"}, STARTS_FLOW, LATER],
    )
    shop.start("Flow")
    for _ in range(20):
        shop.office.settle()
    assert (len(shop.runs("Flow")), len(shop.runs("Offer"))) == (4, 4)
    [refused] = shop.told("sequence_refused")
    assert refused["reason"] == "a lead starts it 4 times in 30 days at the most, and this one has"
