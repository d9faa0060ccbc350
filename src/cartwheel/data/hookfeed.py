"""What other systems are to be told of a batch, written in the transaction of the batch."""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from cartwheel.accounts import Account
from cartwheel.data import schema
from cartwheel.data.lanes import Insert, Lane, Row, Select
from cartwheel.hooks import envelope
from cartwheel.hooks.outbound import Told, highest
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part

DELIVERY = Insert(schema.hook_deliveries)

QUEUED, DELIVERED, PARKED = "queued", "delivered", "parked"
"""The states of a delivery: it waits to be tried, was taken, or is not tried any more unless somebody asks for it."""

_LEDGER = Select(
    schema.points,
    ("account_id", "lead_id", "id", "points", "given_at", "reversed_at"),
    by=("account_id", "lead_id"),
)

_LeadKey = tuple[int, int]
_Loader = Callable[[Lane, dict[_LeadKey, Lead], list[_LeadKey], int], Awaitable[None]]


class Telling:
    """The deliveries of one batch: `first_scores` before its rows are written, `rows` as its events are numbered."""

    def __init__(self) -> None:
        self._highest: dict[_LeadKey, int] = {}

    async def prepare(self, lane: Lane, leads: Sequence[tuple[Lead, Sequence[Told]]], load_profile: _Loader) -> None:
        """Load what is told of these leads and was not asked for, and what they had before, if a score was reached."""
        missing = [lead for lead, told in leads if told and not lead.has(Part.PROFILE)]
        while missing:  # one lead may be there several times, as one piece of work after the other has left it
            layer = {(lead.account_id, lead.id): lead for lead in missing}
            await load_profile(lane, layer, list(layer), 0)
            for lead in layer.values():
                lead.loaded |= Part.PROFILE
            missing = [lead for lead in missing if not lead.has(Part.PROFILE)]
        scored = {(lead.account_id, lead.id) for lead, told in leads for each in told if each.points is not None}
        ledgers: dict[_LeadKey, list[tuple[int, int, int, int | None]]] = {}
        for account_id, lead_id, *grant in await lane.fetch(_LEDGER, sorted(scored)):
            ledgers.setdefault((account_id, lead_id), []).append(tuple(grant))
        self._highest = {key: highest(ledgers.get(key, ())) for key in scored}

    def rows(self, lead: Lead, account: Account, told: Sequence[Told], number: int, now: int) -> Iterator[Row]:
        """The deliveries of one event, which has this number."""
        key = (lead.account_id, lead.id)
        reached = self._highest.get(key, 0)
        for endpoint, action, details, points in told:
            if points is not None:
                if points <= reached:
                    continue
                self._highest[key] = max(points, self._highest[key])
            body = envelope.body(lead, account, endpoint, action, details)
            row = (number, endpoint.id, action, body, QUEUED, now, now)
            yield (*key, *row, 0, None, None, None, "", "")
