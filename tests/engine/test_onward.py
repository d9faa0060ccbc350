"""A lead of the database is simulated with all that it is in."""

from datetime import datetime
from pathlib import Path

import pytest
import tomli_w
from flowworld import MAIL

from cartwheel.accountfiles import accountfile
from commandline import Cartwheel
from harness import Api


def test_the_other_sequences_that_the_lead_is_in_go_on_too(
    api: Api, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of them nothing is told; but what they do counts, by the version that the lead keeps to."""
    monkeypatch.setenv("CARTWHEEL_DATABASE", api.server.database.url)
    api.call({"cmd": "retrieve_account_tags"})  # known to the server's catalog
    account = api.server.application.batches.catalog.accounts[api.account_id].name

    def publish(delay: str) -> None:
        last = {"box": "2", "type": "stop_sequence", "sequence": "Third"}
        steps = {
            "First": [{"box": "1", "type": "wait_until", "condition": {"type": "completed", "sequence": "Second"}},
                      {"box": "2", **MAIL}],
            "Second": [{"box": "1", **MAIL, "delay": delay}, last],
            "Third": [{"box": "1", **MAIL, "delay": "9 days"}],
        }  # fmt: skip
        file = {
            "account": {"name": account},
            "sequences": [{"name": name, "steps": own} for name, own in steps.items()],
        }
        accountfile.apply(api.server.database, accountfile.read_text(tomli_w.dumps(file), Path()), api.server.clock())

    publish("3 days")
    api.create("ada@shop.example")
    for name in ("First", "Second", "Third"):
        api.on("ada@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name=name, step="1")
    publish("20 days")
    now = f"{api.server.clock():%Y-%m-%dT%H:%M:%SZ}"
    asked = ("--account", account, "--lead", "ada@shop.example", "--from", now, "--json")
    told = cartwheel("simulate", "First", *asked, "--onward").json
    begun = datetime.fromisoformat(told["from"])
    assert [(mail["sequence"], mail["box"]) for mail in told["mails"]] == [("First", "2")]
    assert {event["sequence"] for event in told["events"]} == {"First"}
    assert (told["ended"]["how"], (datetime.fromisoformat(told["ended"]["at"]) - begun).days) == ("completed", 3)
    told = cartwheel("simulate", "Third", *asked, "--onward").json
    assert (told["ended"]["how"], told["mails"]) == ("left", [])
    assert told["events"][-1]["text"] == "Left the sequence Third at step 1"
    anew = cartwheel("simulate", "First", *asked).json
    assert anew["events"][0]["text"].startswith(
        "it would not be let in: it is in the sequence, at step 1, and stays there"
    )
    assert anew["ended"]["how"] == "completed"
