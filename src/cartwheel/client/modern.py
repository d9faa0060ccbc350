"""The client of /v1: a method an operation, typed as the operation is."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from cartwheel.client.transport import Caller, Transport
from cartwheel.client.trouble import NoAnswer, refused
from cartwheel.rest import records
from cartwheel.rest.records import ProblemRecord, Sent, Told

T = TypeVar("T", bound=Told)


class Client(Caller):
    """`url` is the base URL. Every call that writes has an `Idempotency-Key`, so that it can be made again if no answer came.

    `key` is that key, if you want to make the same call again yourself, later. `dry_run` decides and keeps nothing.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = 30, tries: int = 4) -> None:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._transport = Transport(url.rstrip("/").removesuffix("/v1"), headers, timeout_s=timeout_s, tries=tries)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] = {},
        body: bytes | None = None,
        dry_run: bool = False,
        key: str = "",
    ) -> bytes:
        """Any call, and its answer as it is. Raises `Refused` or `NoAnswer`."""
        headers, asked = {}, {name: _text(value) for name, value in query.items() if value not in {None, ""}}
        if method != "GET":
            headers["Idempotency-Key"] = key or uuid.uuid4().hex
            asked |= {"dry_run": "true"} if dry_run else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = self._transport.send(method, path, safe=True, query=asked, body=body, headers=headers)
        if answer.is_success:
            return answer.content
        try:
            problem = msgspec.json.decode(answer.content, type=ProblemRecord)
        except msgspec.DecodeError as error:
            raise NoAnswer(
                f"what answers {path} with {answer.status_code} is no Cartwheel: {error}", done=None
            ) from error
        raise refused(problem)

    def _do(self, method: str, path: str, kind: type[T], body: Sent | None = None, **more: Any) -> T:
        sent = None if body is None else msgspec.json.encode(body)
        return msgspec.json.decode(self.call(method, path, body=sent, **more), type=kind)

    # -- leads --

    def search_leads(
        self, *, filter: str = "", q: str = "", order: str = "newest", after: str = "", limit: int = 50
    ) -> records.LeadPage:
        """Find leads, by the conditions of the page of leads."""
        return self._do(
            "GET",
            "/v1/leads",
            records.LeadPage,
            query={"filter": filter, "q": q, "order": order, "after": after, "limit": limit},
        )

    def read_lead(self, lead: str | int) -> records.LeadRecord:
        """Everything about a lead but its history. A deleted one is found by its id."""
        return self._do("GET", f"/v1/leads/{_part(lead)}", records.LeadRecord)

    def read_mails(self, lead: str | int, *, after: str = "", limit: int = 50) -> records.MailPage:
        """The mails to a lead, and what became of each."""
        return self._do(
            "GET", f"/v1/leads/{_part(lead)}/mails", records.MailPage, query={"after": after, "limit": limit}
        )

    def explain_lead(self, lead: str | int, *, about: str | None = None) -> records.WhyRecord:
        """Why the lead got a mail or did not; `about` a sequence, or a mail by its number or Message-ID."""
        return self._do("GET", f"/v1/leads/{_part(lead)}/why", records.WhyRecord, query={"about": about})

    def upsert_lead(self, body: records.LeadChange, *, dry_run: bool = False, key: str = "") -> records.LeadChanged:
        """Make a lead, or change the one that is there. Done again, it changes nothing, but for points."""
        return self._do("POST", "/v1/leads", records.LeadChanged, body, dry_run=dry_run, key=key)

    def upsert_leads(self, body: records.BulkChange, *, dry_run: bool = False, key: str = "") -> records.BulkChanged:
        """Make or change many leads at once. Each stands for itself: `items` tells of each what happened, or why nothing did."""
        return self._do("POST", "/v1/leads/bulk", records.BulkChanged, body, dry_run=dry_run, key=key)

    def delete_lead(self, lead: str | int, *, dry_run: bool = False, key: str = "") -> records.LeadGone:
        """Delete a lead: it leaves its sequences, and its address stays taken. It can be restored."""
        return self._do("DELETE", f"/v1/leads/{_part(lead)}", records.LeadGone, dry_run=dry_run, key=key)

    def restore_lead(self, lead: str | int, *, dry_run: bool = False, key: str = "") -> records.LeadGone:
        """Bring a deleted lead back; not into the sequences that it was in."""
        return self._do("POST", f"/v1/leads/{_part(lead)}/restore", records.LeadGone, dry_run=dry_run, key=key)

    # -- events --

    def read_events(
        self, *, kind: str = "", lead: int | None = None, after: str = "", limit: int = 50
    ) -> records.EventPage:
        """What happened, oldest first, from `after` on. Keep the last `after` and come again with it: nothing is missed."""
        return self._do(
            "GET", "/v1/events", records.EventPage, query={"kind": kind, "lead": lead, "after": after, "limit": limit}
        )

    # -- lists and tags --

    def read_lists(self) -> records.ListPage:
        """All lists of the account."""
        return self._do("GET", "/v1/lists", records.ListPage)

    def read_list(self, list: int) -> records.ListRecord:
        """One list."""
        return self._do("GET", f"/v1/lists/{_part(list)}", records.ListRecord)

    def make_list(self, body: records.NewList, *, dry_run: bool = False, key: str = "") -> records.ListRecord:
        """Make a list."""
        return self._do("POST", "/v1/lists", records.ListRecord, body, dry_run=dry_run, key=key)

    def change_list(
        self, list: int, body: records.ListChange, *, dry_run: bool = False, key: str = ""
    ) -> records.ListRecord:
        """Change a list's names. While steps of sequences call it by its name, that stays."""
        return self._do("PATCH", f"/v1/lists/{_part(list)}", records.ListRecord, body, dry_run=dry_run, key=key)

    def delete_list(self, list: int, *, dry_run: bool = False, key: str = "") -> records.Gone:
        """Delete a list that no step of a sequence names. On the page, that can be taken back."""
        return self._do("DELETE", f"/v1/lists/{_part(list)}", records.Gone, dry_run=dry_run, key=key)

    def read_tags(self) -> records.TagPage:
        """All tags of the account."""
        return self._do("GET", "/v1/tags", records.TagPage)

    def read_tag(self, tag: int) -> records.TagRecord:
        """One tag."""
        return self._do("GET", f"/v1/tags/{_part(tag)}", records.TagRecord)

    def make_tag(self, body: records.NewTag, *, dry_run: bool = False, key: str = "") -> records.TagRecord:
        """Make a tag."""
        return self._do("POST", "/v1/tags", records.TagRecord, body, dry_run=dry_run, key=key)

    def rename_tag(self, tag: int, body: records.NewTag, *, dry_run: bool = False, key: str = "") -> records.TagRecord:
        """Give a tag another name. While steps of sequences call it by its name, that stays."""
        return self._do("PATCH", f"/v1/tags/{_part(tag)}", records.TagRecord, body, dry_run=dry_run, key=key)

    def delete_tag(self, tag: int, *, dry_run: bool = False, key: str = "") -> records.Gone:
        """Delete a tag that no step of a sequence names. On the page, that can be taken back."""
        return self._do("DELETE", f"/v1/tags/{_part(tag)}", records.Gone, dry_run=dry_run, key=key)

    # -- custom fields --

    def read_fields(self) -> records.FieldPage:
        """All custom fields of the account, with their options."""
        return self._do("GET", "/v1/fields", records.FieldPage)

    def read_field(self, field: int) -> records.FieldRecord:
        """One custom field."""
        return self._do("GET", f"/v1/fields/{_part(field)}", records.FieldRecord)

    def make_field(self, body: records.NewField, *, dry_run: bool = False, key: str = "") -> records.FieldRecord:
        """Make a custom field. `drop_down`, `radio_button` and `checkbox` need two options or more."""
        return self._do("POST", "/v1/fields", records.FieldRecord, body, dry_run=dry_run, key=key)

    def change_field(
        self, field: int, body: records.FieldChange, *, dry_run: bool = False, key: str = ""
    ) -> records.FieldRecord:
        """Give a custom field another identifier, or more options."""
        return self._do("PATCH", f"/v1/fields/{_part(field)}", records.FieldRecord, body, dry_run=dry_run, key=key)

    def delete_field(self, field: int, *, dry_run: bool = False, key: str = "") -> records.Gone:
        """Delete a custom field that no step of a sequence names. On the page, that can be taken back."""
        return self._do("DELETE", f"/v1/fields/{_part(field)}", records.Gone, dry_run=dry_run, key=key)

    # -- sequences --

    def read_sequences(self) -> records.SequencePage:
        """All sequences of the account, without their steps."""
        return self._do("GET", "/v1/sequences", records.SequencePage)

    def read_sequence(self, sequence: int) -> records.WholeSequence:
        """One sequence with its steps as text, and what is to be said of them."""
        return self._do("GET", f"/v1/sequences/{_part(sequence)}", records.WholeSequence)

    def write_sequences(
        self, body: records.SequenceText, *, dry_run: bool = False, key: str = ""
    ) -> records.SequencesTaken:
        """Take the sequences in the text as drafts: new ones are made, of known ones the steps are replaced."""
        return self._do("POST", "/v1/sequences", records.SequencesTaken, body, dry_run=dry_run, key=key)

    def publish_sequence(self, sequence: int, *, dry_run: bool = False, key: str = "") -> records.Published:
        """Make the draft the version that leads start with from now on. Those under way keep to theirs."""
        return self._do("POST", f"/v1/sequences/{_part(sequence)}/publish", records.Published, dry_run=dry_run, key=key)

    def pause_sequence(self, sequence: int, *, dry_run: bool = False, key: str = "") -> records.SequenceRecord:
        """Have everybody in the sequence wait where they are."""
        return self._do(
            "POST", f"/v1/sequences/{_part(sequence)}/pause", records.SequenceRecord, dry_run=dry_run, key=key
        )

    def resume_sequence(self, sequence: int, *, dry_run: bool = False, key: str = "") -> records.SequenceRecord:
        """Let a paused sequence go on; delays that were running begin anew."""
        return self._do(
            "POST", f"/v1/sequences/{_part(sequence)}/resume", records.SequenceRecord, dry_run=dry_run, key=key
        )

    # -- suppressions --

    def read_suppressions(self, *, after: str = "", limit: int = 50) -> records.SuppressionPage:
        """The addresses that are not mailed, newest first."""
        return self._do("GET", "/v1/suppressions", records.SuppressionPage, query={"after": after, "limit": limit})

    def read_suppression(self, email: str) -> records.SuppressionRecord:
        """Why an address is not mailed."""
        return self._do("GET", f"/v1/suppressions/{_part(email)}", records.SuppressionRecord)

    def suppress(
        self, body: records.NewSuppression, *, dry_run: bool = False, key: str = ""
    ) -> records.SuppressionRecord:
        """Mail an address no more. One that is not mailed already stays as it is, unless this reason is stronger."""
        return self._do("POST", "/v1/suppressions", records.SuppressionRecord, body, dry_run=dry_run, key=key)

    def lift_suppression(
        self, email: str, *, asked: str | None = None, dry_run: bool = False, key: str = ""
    ) -> records.Lifted:
        """Let an address be mailed again. If the person wanted no mail, `asked` says how it asked for mail again."""
        return self._do(
            "DELETE",
            f"/v1/suppressions/{_part(email)}",
            records.Lifted,
            query={"asked": asked},
            dry_run=dry_run,
            key=key,
        )

    # -- page after page --

    def all_leads(self, *, filter: str = "", q: str = "", order: str = "newest") -> Iterator[records.LeadRow]:
        """Every lead that is found."""
        after: str | None = ""
        while after is not None:
            page = self.search_leads(filter=filter, q=q, order=order, after=after, limit=records.MOST_ROWS)
            yield from page.leads
            after = page.after

    def all_events(self, *, kind: str = "", lead: int | None = None, after: str = "") -> Iterator[records.EventPage]:
        """Page by page what has happened so far; keep the last page's `after`."""
        more = True
        while more:
            page = self.read_events(kind=kind, lead=lead, after=after, limit=records.MOST_ROWS)
            yield page
            after, more = page.after, page.more


def address_of(path: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A path such as `/v1/lists/{list}` with its parameters in it, and those that remain for the query."""
    query = dict(params)
    for name, value in params.items():
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", _part(value))
            del query[name]
    return path, query


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _part(value: str | int) -> str:
    """In an address."""
    return quote(str(value), safe="@")
