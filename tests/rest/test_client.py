"""The typed client against a real server: /v1, and Kartra's API."""

import inspect
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from restkit import caller

from cartwheel import client
from cartwheel.client import Client, KartraClient, KartraError, LeadChange
from cartwheel.client.transport import Transport
from cartwheel.data import schema
from cartwheel.rest.records import WholeSequence
from cartwheel.rest.table import OPERATIONS
from cartwheel.times import from_micros
from harness import Api


@pytest.fixture
def modern(api: Api) -> Iterator[Client]:
    with Client(api.server.url, caller(api).token) as made:
        yield made


@pytest.fixture
def kartra(api: Api) -> Iterator[KartraClient]:
    with KartraClient(api.server.url, app_id=api.app_id, api_key=api.api_key, api_password=api.api_password) as made:
        yield made


def test_every_operation_is_a_method_with_its_parameters() -> None:
    for operation in OPERATIONS.values():
        method = inspect.signature(getattr(Client, operation.name))
        takes = {name for name in method.parameters if name != "self"}
        wanted = {*operation.params} | ({"body"} if operation.body else set())
        assert takes == wanted | ({"dry_run", "key"} if operation.writes else set()), operation.name
        for name, param in operation.params.items():
            assert param.required or method.parameters[name].default == param.default
        assert inspect.get_annotations(getattr(Client, operation.name), eval_str=True)["return"] is operation.answer


def test_a_lead_is_made_changed_found_explained_and_deleted(modern: Client, api: Api) -> None:
    change = LeadChange(
        email="Ada@Shop.example",
        fields={"first_name": "Ada"},
        custom_fields={"plan": "Gold", "interests": ["Gardens", "Tools"], "shoe_size": "38"},
        add_tags=["customer"],
        join_lists=["Newsletter"],
        points=5,
        start_sequences=[client.Start(sequence="Welcome", step="2")],
    )
    tried = modern.upsert_lead(change, dry_run=True)
    assert (tried.id, tried.created) == (None, True)
    assert api.rows_of_leads() == []
    made = modern.upsert_lead(change)
    assert made.created
    assert [one.kind for one in made.changes] == [one.kind for one in tried.changes]
    assert {one.kind for one in made.changes} == {
        "lead_created", "tag_assigned", "list_joined", "points_given", "sequence_joined",
    }  # fmt: skip
    assert modern.upsert_lead(LeadChange(email="ada@shop.example", add_tags=["Customer"])).changes == []
    lead = modern.read_lead("ada@shop.example")
    assert lead == modern.read_lead(made.id or 0)
    assert (lead.fields, lead.tags, lead.score) == ({"first_name": "Ada"}, ["Customer"], 5)
    assert lead.custom_fields == {"plan": ["Gold"], "interests": ["Gardens", "Tools"], "shoe_size": "38"}
    assert [(run.name, run.step) for run in lead.sequences] == [("Welcome", "2")]
    tag = next(one.id for one in modern.read_tags().tags if one.name == "Customer")
    assert [row.id for row in modern.all_leads(filter=f'{{"type": "tag", "tag": {tag}}}')] == [made.id]
    assert any("Welcome" in fact.text for fact in modern.explain_lead(lead.id, about="Welcome").facts)
    renamed = modern.upsert_lead(LeadChange(id=lead.id, email="countess@shop.example", points=-2))
    assert [one.text for one in renamed.changes] == ["Changed email", "Lost 2 points"]
    assert modern.delete_lead("countess@shop.example").changed
    with pytest.raises(client.Conflict, match="was deleted"):
        modern.upsert_lead(LeadChange(email="countess@shop.example"))
    assert modern.restore_lead(lead.id).changed
    assert api.lead("countess@shop.example")["score"] == 3


def test_what_names_nothing_says_what_there_is(modern: Client) -> None:
    for change, told in [
        (LeadChange(), "by `id` or `email`"),
        (LeadChange(email="nobody"), "No mail could ever be sent"),
        (LeadChange(email="a@b.de", fields={"plan": "x"}), "no built-in field plan; there are: phone"),
        (LeadChange(email="a@b.de", custom_fields={"first_name": "x"}), "there are: plan, interests, shoe_size"),
        (LeadChange(email="a@b.de", custom_fields={"plan": "Lead"}), "`plan` takes one of: Gold, Silver"),
        (LeadChange(email="a@b.de", add_tags=["Nothing"]), "no tag of this name: Nothing"),
        (LeadChange(email="a@b.de", start_sequences=[client.Start(sequence="Welcome", step="9")]), "no step"),
    ]:
        with pytest.raises(client.NotValid, match=told) as refused:
            modern.upsert_lead(change)
        assert refused.value.request_id
    assert list(modern.all_leads()) == []


def test_of_many_leads_each_stands_for_itself(modern: Client) -> None:
    many = client.BulkChange(leads=[LeadChange(email=f"lead{n}@shop.example") for n in range(99)])
    many.leads.append(LeadChange(email="x@shop.example", add_tags=["Nothing"]))
    done = modern.upsert_leads(many, key="import-1")
    assert [item.status for item in done.items] == [201] * 99 + [422]
    assert done.items[99].problem
    assert modern.upsert_leads(many, key="import-1").items[:99] == done.items[:99]
    found = list(modern.all_leads(q="lead"))
    assert len({row.id for row in found}) == 99


def settle(api: Api) -> None:
    """Until no earlier event can appear. Their numbers go on from those of tests whose clock was ahead."""
    last = max(row["id"] for row in api.rows(schema.events))
    api.server.clock.now = max(api.server.clock.now, from_micros(last)) + timedelta(seconds=31)


def test_events_are_read_in_order_and_none_twice(modern: Client, api: Api) -> None:
    for number in range(7):
        modern.upsert_lead(LeadChange(email=f"lead{number}@shop.example", add_tags=["Customer"]))
        api.server.clock.forward(seconds=1)
    settle(api)
    seen, after = [], ""
    while (page := modern.read_events(after=after, limit=3)).events:
        seen += [(event.kind, event.id) for event in page.events]
        after = page.after
    assert [kind for kind, _ in seen] == ["lead_created", "tag_assigned"] * 7
    assert sorted(number for _, number in seen) == [number for _, number in seen]
    assert not page.more
    assert modern.read_events(after=after).events == []
    modern.upsert_lead(LeadChange(email="lead3@shop.example", remove_tags=["Customer"]))
    assert modern.read_events(after=after).events == [], "it is not settled yet"
    settle(api)
    [late] = modern.read_events(after=after, kind="tag_unassigned,lead_deleted").events
    assert (late.text, late.origin) == ("Lost the tag Customer", f"token:{api.account_id}/1")
    one = [event for page in modern.all_events(lead=late.lead) for event in page.events]
    assert [event.kind for event in one] == ["lead_created", "tag_assigned", "tag_unassigned"]


def written(modern: Client, step: str) -> WholeSequence:
    text = f'[[sequences]]\nname = "Spring"\n[[sequences.steps]]\nbox = "1"\n{step}\n'
    [taken] = modern.write_sequences(client.SequenceText(text=text)).sequences
    return taken


def test_a_sequence_is_written_and_published(modern: Client) -> None:
    bad = written(modern, 'type = "assign_tag"\ntag = "Nothing"')
    assert [finding.stops for finding in bad.findings] == [True]
    with pytest.raises(client.NotValid, match="box 1: ") as stopped:
        modern.publish_sequence(bad.sequence.id)
    assert stopped.value.type == "urn:cartwheel:problem:cannot-run"
    good = written(modern, 'type = "email"\nsubject = "Sow"\nmarkdown = "Now."')
    assert good.sequence.id == bad.sequence.id
    with pytest.raises(client.NotValid, match="never published"):
        modern.upsert_lead(LeadChange(email="a@b.de", start_sequences=[client.Start(sequence="spring")]))
    assert modern.publish_sequence(good.sequence.id, dry_run=True).sequence.version == 1
    assert modern.read_sequence(good.sequence.id).changed
    assert modern.publish_sequence(good.sequence.id).sequence.boxes == ["1"]
    assert not modern.publish_sequence(good.sequence.id).changed
    assert modern.upsert_lead(LeadChange(email="a@b.de", start_sequences=[client.Start(sequence="spring")])).changes
    with pytest.raises(client.NotValid, match="the types are email"):
        written(modern, 'type = "jump"')
    assert modern.pause_sequence(good.sequence.id).paused
    assert not modern.resume_sequence(good.sequence.id).paused


def test_a_list_that_a_step_names_keeps_its_name(modern: Client) -> None:
    modern.publish_sequence(written(modern, 'type = "subscribe_list"\nlist = "Newsletter"').sequence.id)
    with pytest.raises(client.Conflict, match="Spring, box 1"):
        modern.delete_list(1)
    with pytest.raises(client.Conflict, match="Spring, box 1"):
        modern.change_list(1, client.ListChange(name="Letter"))
    assert modern.change_list(1, client.ListChange(public_name="Letter")).public_name == "Letter"


def test_an_address_whose_owner_wants_no_mail_needs_a_reason_to_be_lifted(modern: Client, api: Api) -> None:
    api.create("ada@shop.example")
    for email in ("ada@shop.example", "nobody@shop.example"):
        modern.suppress(client.NewSuppression(email=email))
        with pytest.raises(client.Conflict, match="asked"):
            modern.lift_suppression(email)
    assert modern.read_lead("ada@shop.example").not_mailed == "do not contact"
    assert {one.email for one in modern.read_suppressions().suppressions} == {"ada@shop.example", "nobody@shop.example"}
    for email in ("ada@shop.example", "nobody@shop.example"):
        assert modern.lift_suppression(email, asked="wrote to us").reason == "do not contact"
    assert modern.read_suppressions().suppressions == []


# -- Kartra's API --


def test_kartras_api_is_spoken_too(kartra: KartraClient) -> None:
    ada = {"email": "ada@shop.example"}
    assert kartra.search_lead(ada) is None
    assert kartra.get_lead(email="ada@shop.example") is None
    number = kartra.create_lead("ada@shop.example", first_name="Adä & [Co]")
    with pytest.raises(KartraError, match="Lead already exists") as taken:
        kartra.create_lead("ada@shop.example")
    assert taken.value.cmd == ""
    assert kartra.edit_lead({**ada, "city": "London"}) == kartra.search_lead({"id": number}) == number
    kartra.assign_tag(ada, "Customer")
    kartra.subscribe_lead_to_list(ada, "Newsletter")
    kartra.subscribe_lead_to_sequence_at_step(ada, "Welcome", 1)
    kartra.give_points_to_lead(ada, 7)
    kartra.remove_points_from_lead(ada, 2)
    lead = kartra.get_lead(lead_id=number)
    assert lead is not None
    assert (lead["first_name"], lead["city"], lead["score"]) == ("Adä & [Co]", "London", 5)
    assert lead["tags"] == [{"tag_name": "Customer"}]
    kartra.unassign_tag(ada, "Customer")
    kartra.unsubscribe_lead_from_list(ada, "Newsletter")
    kartra.unsubscribe_lead_from_sequence(ada, "Welcome")
    with pytest.raises(KartraError, match="assign_tag: Tag does not exist"):
        kartra.assign_tag(ada, "Nothing")
    assert kartra.retrieve_account_tags() == ["Trial user", "Customer"]
    assert kartra.retrieve_account_lists() == ["Newsletter", "Product news"]
    assert kartra.retrieve_account_sequences() == ["Welcome"]
    kartra.create_custom_field("soil", "drop_down", ["Sand", "Clay"])
    assert kartra.retrieve_custom_fields()[-1]["field_identifier"] == "soil"


def test_a_call_that_is_refused_as_a_whole_says_why(api: Api) -> None:
    with (
        KartraClient(api.server.url, app_id="nobody", api_key=api.api_key, api_password=api.api_password) as wrong,
        pytest.raises(KartraError) as refused,
    ):
        wrong.retrieve_account_tags()
    assert refused.value.message


# -- when no answer comes --


class Breaking:
    """A server that breaks off so many connections before it answers one with `200 {}`."""

    def __init__(self, breaks: int) -> None:
        self.requests = 0
        self._breaks = breaks
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                self.requests += 1
                if self.requests > self._breaks:
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.mark.parametrize(("safe", "requests"), [(True, 3), (False, 1)])
def test_what_got_no_answer_is_sent_again_only_if_that_is_safe(*, safe: bool, requests: int) -> None:
    server = Breaking(2)
    pauses: list[float] = []
    transport = Transport(server.url, {}, timeout_s=5, tries=4, sleep=pauses.append)
    if safe:
        assert transport.send("POST", "/", safe=True).content == b"{}"
    else:
        with pytest.raises(client.NoAnswer) as lost:
            transport.send("POST", "/", safe=False)
        assert lost.value.done is None
    assert (server.requests, len(pauses)) == (requests, requests - 1)
    transport.close()
    server.close()


def test_what_never_left_is_sent_again_and_known_not_to_be_done() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    pauses: list[float] = []
    transport = Transport(f"http://127.0.0.1:{port}", {}, timeout_s=5, tries=3, sleep=pauses.append)
    with pytest.raises(client.NoAnswer) as lost:
        transport.send("POST", "/", safe=False)
    assert lost.value.done is False
    assert len(pauses) == 2
    transport.close()
