"""The verbs about leads, beside a running server."""

import pytest

from commandline import Cartwheel, name_of
from harness import Api


def test_a_lead_is_shown_with_everything_in_the_accounts_time(cartwheel: Cartwheel, owner: Api) -> None:
    lead_id = owner.create("ada@shop.example", first_name="Ada", last_name="Lovelace")
    fields = [{"field_identifier": "plan", "field_value": "612"}]
    owner.call({"cmd": "edit_lead"}, lead={"email": "ada@shop.example", "city": "London", "custom_fields": fields})
    owner.on("ada@shop.example", "assign_tag", tag_name="Trial user")
    owner.on("ada@shop.example", "subscribe_lead_to_list", list_name="Newsletter")
    owner.on("ada@shop.example", "unsubscribe_lead_from_list", list_name="Newsletter")
    owner.on("ada@shop.example", "give_points_to_lead", points=10, expiration=30)
    owner.on("ada@shop.example", "remove_points_from_lead", points=3)
    owner.on("ada@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="A2")

    account = ("--account", name_of(owner))
    shown = cartwheel("lead", "show", " ADA@shop.example ", *account).out
    for part in (
        "ada@shop.example   score 7",
        f"Ada Lovelace · id {lead_id} · {name_of(owner)} · America/New_York time",
        "plan        Gold",
        "tags        Trial user",
        "list        Newsletter since 2026-03-01 09:15, left 2026-03-01 09:15",
        "sequence    Welcome, step A2, active",
        "2026-03-01 09:15  +10  until 2026-03-31 10:15",
        "2026-03-01 09:15   -3",
        "2026-03-01 09:15:00  Was added to the account (source: api)   by App Website",
        "Changed city, plan",
        "Got the tag Trial user",
        "Got 10 points for 30 days",
        "Started the sequence Welcome at step A2",
    ):
        assert part in shown
    assert not [line for line in shown.splitlines() if line != line.rstrip()]

    data = cartwheel("lead", "show", lead_id, "--json", *account).json
    assert data["fields"] == {"first_name": "Ada", "last_name": "Lovelace", "city": "London", "plan": "Gold"}
    assert data["created_at"] == "2026-03-01T09:15:00-05:00"
    assert [entry["points"] for entry in data["points"]] == [10, -3]
    assert data["lists"][0]["left_at"]
    newest = data["events"][0]
    assert (newest["kind"], newest["details"]["step"], newest["by"]) == ("sequence_joined", "A2", "by App Website")
    [last] = cartwheel("lead", "show", lead_id, "--json", "--events", 1, *account).json["events"]
    assert last == newest


def test_what_a_lead_is_called_cannot_play_with_the_terminal(cartwheel: Cartwheel, owner: Api) -> None:
    owner.create("ada@shop.example", first_name="\x1b[2J[bold]Ada", city="\u202eLondon")
    shown = cartwheel("lead", "show", "ada@shop.example", "--account", name_of(owner)).out
    assert "\N{REPLACEMENT CHARACTER}[2J[bold]Ada" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_a_lead_is_deleted_and_restored_under_a_running_server(cartwheel: Cartwheel, owner: Api) -> None:
    lead_id = owner.create("ada@shop.example")
    account = ("--account", name_of(owner))
    assert cartwheel("lead", "delete", "ada@shop.example", *account).code == 0
    assert owner.call(get_lead={"email": "ada@shop.example"})["type"] == "245"
    assert "deleted 20" in cartwheel("lead", "show", "ada@shop.example", *account).out
    assert cartwheel("lead", "restore", lead_id, *account).code == 0
    assert owner.lead("ada@shop.example")["id"] == lead_id
    shown = cartwheel("lead", "show", "ada@shop.example", *account).out
    assert "Was deleted" in shown
    assert "Was restored                            by the command line" in shown


def test_an_owner_says_whether_a_lead_is_mailed_and_watched(cartwheel: Cartwheel, owner: Api) -> None:
    owner.create("ada@shop.example")
    account = ("--account", name_of(owner))

    def told(verb: str) -> str:
        assert cartwheel("lead", verb, "ada@shop.example", *account).code == 0
        return cartwheel("lead", "show", "ada@shop.example", *account).out

    assert "blacklisted  yes" in told("suppress")
    assert owner.lead("ada@shop.example")["blacklisted"] == 1
    assert "blacklisted" not in told("allow")
    assert "May be mailed again" in told("allow")
    assert "tracking  off" in told("untrack")
    assert "tracking  off" not in told("track")


@pytest.mark.parametrize(
    ("lead", "told"),
    [
        ("nobody@shop.example", "has no lead nobody@shop.example"),
        ("nobody", "nobody is no e-mail address"),
        ("999999999", "There is no such lead."),
        ("9" * 30, "is no e-mail address"),
    ],
)
@pytest.mark.parametrize("verb", ["show", "delete", "restore", "suppress", "allow", "track", "untrack"])
def test_a_lead_that_is_not_there_is_told(cartwheel: Cartwheel, owner: Api, verb: str, lead: str, told: str) -> None:
    ran = cartwheel("lead", verb, lead, "--account", name_of(owner))
    assert ran.code == 1
    assert told in ran.trouble


def test_another_accounts_lead_is_not_shown(cartwheel: Cartwheel, owner: Api, stranger: Api) -> None:
    lead_id = stranger.create("ada@shop.example")
    for lead in (lead_id, "ada@shop.example"):
        assert cartwheel("lead", "show", lead, "--account", name_of(owner)).code == 1
