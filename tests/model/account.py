"""An account of the real server beside its model: what is told to both, and held against each other."""

import os
import tomllib
from collections import Counter
from operator import itemgetter
from typing import Any

from calls import Encoded, encode, resolve
from vocabulary import Chosen, Lead

from cartwheel.data import schema
from cartwheel.work.housekeeping import Housekeeping
from harness import DEMO, Server, new_api
from model import Model
from rawhttp import Line, request

HISTORIES = int(os.environ.get("MODEL_HISTORIES", "0"))
"""How many other histories to try on each engine, which takes a while: 2000 for an hour. 0 takes the same few each time."""

FILE = (
    DEMO
    + """
[[lists]]
name = "Café Zürich"
[[tags]]
name = "Ärzte"
[[sequences]]
name = "Second steps"
steps = [{ box = "1", type = "email", subject = "Hello", html = "Hello" }]
"""
)


class Account:
    """An account of the server beside its model."""

    def __init__(self, server: Server, *, test_mode: bool, gdpr: bool, zone: str) -> None:
        account = {"gdpr": gdpr, "timezone": zone}
        self.server = server
        self.api = new_api(server, account=account, app={"mode": "test" if test_mode else "live"}, file=FILE)
        file = tomllib.loads(FILE)
        self.model = Model(
            file | {"account": file["account"] | account}, test_domain="test.invalid" if test_mode else None
        )
        self._line = Line(server)
        self._names = {
            what: {row["id"]: row["name"] for row in self.api.rows(table)}
            for what, table in (("tag", schema.tags), ("list", schema.lists), ("sequence", schema.sequences))
        }

    def encode(self, call: dict[str, Any], style: str) -> Encoded:
        leads = [lead.id.known for lead in self.model.state.leads]
        options = [
            number.known
            for field in self.model.state.fields.values()
            for number, _ in field.options
            if isinstance(number, Chosen)
        ]
        return encode(self.api.credentials | resolve(call, {"lead": leads, "option": options}), style)

    def send(self, sent: Encoded, key: str | None) -> Any:
        """The call, to both; their answers have to be equal. Returns the server's."""
        headers = [f"Content-Type: {sent.content_type}", *([f"Idempotency-Key: {key}"] if key else [])]
        self._line.send(request(sent.body, *headers))
        answer = self._line.answer()
        expected = self.model.call(sent.tree, self.server.clock(), body=sent.body, key=key)
        assert answer.status == 200
        assert ordered(answer.json) == ordered(expected), sent.body.decode()
        return answer.json

    def close(self) -> None:
        self._line.close()

    def check(self) -> None:
        """Every lead as a whole: what `get_lead` tells, the feed, the ledger."""
        housekeeping(self.server)
        self.model.pass_time(self.server.clock())
        self.send(self.encode({"actions": [{"cmd": "retrieve_custom_fields"}]}, "json"), None)
        leads = self.model.state.leads
        assert sorted(str(row["id"]) for row in self.api.rows(schema.leads)) == sorted(
            str(lead.id.known) for lead in leads
        )
        for lead in leads:
            self.send(encode(self.api.credentials | {"get_lead": {"id": lead.id.known}}, "json"), None)
            assert in_order(self.feed(lead)) == in_order(lead.events)
            assert expired(self.feed(lead)) == expired(lead.events)
            self._check_runs(lead)
            ledger = self.api.rows(schema.points, lead_id=int(str(lead.id.known)))
            assert lead.score == sum(row["points"] for row in ledger if row["reversed_at"] is None)

    def _check_runs(self, lead: Lead) -> None:
        """Every one that began is kept, and of each sequence the last one is the latest."""
        rows = sorted(self.api.rows(schema.enrolments, lead_id=int(str(lead.id.known))), key=itemgetter("id"))
        assert len(rows) == sum(kind == "sequence_joined" for kind, _ in lead.events)
        last = {row["sequence_id"]: row["id"] for row in rows}
        assert {row["id"] for row in rows if row["latest"]} == set(last.values())

    def feed(self, lead: Lead) -> list[tuple[str, Any]]:
        """The lead's events in the words of the model."""
        return [(kind, self._worded(kind, details)) for kind, details in self.api.events(str(lead.id.known))]

    def _worded(self, kind: str, details: dict[str, Any]) -> dict[str, Any]:
        if kind == "lead_edited":
            fields = {field.number.known: field.identifier for field in self.model.state.fields.values()}
            custom = {fields[number] for number in details["custom_field_ids"]}
            return {"fields": set(details["fields"]), "custom_fields": custom}
        return {
            name.removesuffix("_id"): self._names[name.removesuffix("_id")][value] if name.endswith("_id") else value
            for name, value in details.items()
        }


def in_order(feed: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """What has an order: points expire at some time between two calls."""
    return [event for event in feed if event[0] != "points_expired"]


def expired(feed: list[tuple[str, Any]]) -> Counter[int]:
    return Counter(details["points"] for kind, details in feed if kind == "points_expired")


def ordered(answer: Any) -> Any:
    """The contract does not say in which order a lead's tags, lists, sequences and fields come."""
    if isinstance(answer, dict) and "lead_details" in answer and "tags" in answer["lead_details"]:
        details = answer["lead_details"]
        names = {
            "tags": "tag_name",
            "lists": "list_name",
            "sequences": "sequence_name",
            "custom_fields": "field_identifier",
        }
        sorts = {part: sorted(details[part], key=itemgetter(name)) for part, name in names.items()}
        return answer | {"lead_details": details | sorts}
    return answer


def housekeeping(server: Server) -> None:
    """What the server does every second, now."""
    worker = Housekeeping(server.database, server.application.batches, clock=server.clock)
    while server.run(worker.round):
        pass
