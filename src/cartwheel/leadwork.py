"""Work on leads that is not an API call."""

from collections.abc import Sequence

from cartwheel.batches import Desk, IdempotencyKey
from cartwheel.errors import LeadNotFound
from cartwheel.leadparts import Part, Parts
from cartwheel.leads import Lead
from cartwheel.leadstore import LeadKey, Wanted


class OneLead:
    """Work on one lead, deleted or not."""

    idempotency: IdempotencyKey | None = None
    may_make_lead = False

    def __init__(self, key: LeadKey, parts: Parts, origin: str) -> None:
        self._key = key
        self.origin = origin
        self.wanted: Sequence[Wanted] = [Wanted(*key, None, parts)]

    def lead(self, desk: Desk) -> Lead:
        lead = desk.any_lead(*self._key)
        if lead is None:
            raise LeadNotFound
        return lead


class ExpiryWork(OneLead):
    """Take back whatever of a lead's points is due."""

    def __init__(self, key: LeadKey) -> None:
        super().__init__(key, Part.POINTS, "cartwheel")

    def decide(self, desk: Desk) -> None:
        self.lead(desk).expire(desk.now)


class DeletionWork(OneLead):
    """Delete a lead, or bring it back."""

    def __init__(self, key: LeadKey, *, deleted: bool, origin: str) -> None:
        super().__init__(key, Part.PROFILE, origin)
        self._deleted = deleted

    def decide(self, desk: Desk) -> None:
        lead = self.lead(desk)
        if self._deleted:
            lead.delete(desk.now)
        else:
            lead.restore()
