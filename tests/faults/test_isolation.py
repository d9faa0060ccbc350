"""One bad piece of work harms nobody beside it, and more work than can wait is told so at once."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import invariants
import pytest
from callers import Book, Outcome, many_callers
from locks import locked
from realserver import make_account, serving

from cartwheel.data.leadstore import Wanted
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part
from cartwheel.work.batches import Desk, IdempotencyKey
from conftest import Databases
from harness import Api, Server
from waiting import wait_until

AT_ONCE_S = 2

Decision = Callable[[Lead], None]


class Piece:
    """Work of our own on one lead: a few points, and then whatever the test wants."""

    idempotency: IdempotencyKey | None = None
    may_make_lead = False
    origin = "tests"

    def __init__(self, account_id: int, email: str, decision: Decision) -> None:
        self._decision = decision
        self._lead = (account_id, None, email)
        self._parts = Part.POINTS | Part.TAGS | Part.PROFILE
        self.wanted: Sequence[Wanted] = [Wanted(*self._lead, self._parts)]

    def decide(self, desk: Desk) -> int:
        lead = desk.find(*self._lead, self._parts)
        lead.grant(1, 0, desk.now)
        self._decision(lead)
        return lead.score


class Bug(Exception):
    """A programming error."""


def raises(_lead: Lead) -> None:
    raise Bug


def has_no_phone(lead: Lead) -> None:
    lead.edit({"phone": None}, {})  # type: ignore[dict-item] # the column may not be empty


def has_too_many_points(lead: Lead) -> None:
    lead.score = 1 << 70


def is_nothing_special(_lead: Lead) -> None: ...


def submit_together(server: Server, pieces: Sequence[Piece]) -> list[int | BaseException]:
    """In one batch, as far as batches reach; returns results and errors."""

    async def submit() -> list[int | BaseException]:
        work = (server.application.batches.submit(piece) for piece in pieces)
        return await asyncio.gather(*work, return_exceptions=True)

    return server.run(submit)


@pytest.mark.parametrize("decision", [raises, has_no_phone, has_too_many_points])
def test_a_bad_piece_of_work_leaves_its_neighbours_alone(api: Api, decision: Decision) -> None:
    emails = [f"lead{number}@shop.example" for number in range(12)]
    ids = {email: api.create(email) for email in emails}
    bad = {emails[0], emails[5], emails[11]}
    pieces = [Piece(api.account_id, email, decision if email in bad else is_nothing_special) for email in emails]
    results = submit_together(api.server, pieces)
    for email, result in zip(emails, results, strict=True):
        kinds = [kind for kind, _ in api.events(ids[email])]
        if email in bad:
            assert isinstance(result, Exception)
            assert (api.lead(email)["score"], kinds) == (0, ["lead_created"])
        else:
            assert result == 1
            assert (api.lead(email)["score"], kinds) == (1, ["lead_created", "points_given"])


@pytest.mark.parametrize("decision", [raises, has_no_phone, has_too_many_points])
def test_a_bad_piece_of_work_does_not_undo_what_others_did_to_its_lead(api: Api, decision: Decision) -> None:
    lead_id = api.create("ada@shop.example")
    decisions = [is_nothing_special, decision, is_nothing_special, decision, is_nothing_special]
    results = submit_together(api.server, [Piece(api.account_id, "ada@shop.example", each) for each in decisions])
    assert [result for result in results if isinstance(result, int)] == [1, 2, 3]
    assert api.lead("ada@shop.example")["score"] == 3
    assert [kind for kind, _ in api.events(lead_id)] == ["lead_created", *["points_given"] * 3]


def test_more_calls_than_can_wait_are_told_at_once(engine: str, databases: Databases, tmp_path: Path) -> None:
    url = databases.migrated(engine)
    make_account(url)
    book = Book()
    with serving(url, tmp_path, {"CARTWHEEL_QUEUE": "3"}) as server, many_callers(server.port, 30) as callers:
        book.fill_pool(server.port, 1)
        attempts = [book.new() for _ in callers]
        with locked(url):
            started = time.monotonic()
            for caller, attempt in zip(callers, attempts, strict=True):
                caller.send(*attempt.actions, lead={"email": attempt.email})
            wait_until(lambda: sum(caller.is_answered for caller in callers) >= 20, "most are refused", AT_ONCE_S)
            told_at_once = [caller.is_answered for caller in callers]
        for caller, attempt, at_once in zip(callers, attempts, told_at_once, strict=True):
            answer = caller.receive(started)
            attempt.note(answer)
            assert (answer.status == 429) == ("retry-after" in answer.headers)
            assert answer.status == 429 or not at_once
    assert attempts[0].outcome is Outcome.DONE
    assert book.count(Outcome.UNANSWERED) == 0
    invariants.check(url, book, failed_did_nothing=True)
