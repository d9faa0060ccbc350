"""Work on leads that is not an API call."""

from collections.abc import Sequence

from cartwheel.data.leadstore import LeadKey, Wanted
from cartwheel.errors import LeadNotFound, NotInDoubt
from cartwheel.leads import clicks
from cartwheel.leads.erasing import erase
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import ERASED, Part, Parts, SuppressionReason
from cartwheel.leads.mails import Mail, MailState
from cartwheel.work.batches import Desk, Entangled, IdempotencyKey

BY_LEAD = "lead"
"""The origin of events that the lead itself brings about."""


BY_OWNER = "an owner said so"


class OneLead:
    """Work on one lead, deleted or not."""

    idempotency: IdempotencyKey | None = None
    may_make_lead = False

    def __init__(self, key: LeadKey, parts: Parts, origin: str) -> None:
        self.key = key
        self.origin = origin
        self.wanted: Sequence[Wanted] = [Wanted(*key, None, parts)]

    def lead(self, desk: Desk) -> Lead:
        """Raises `LeadNotFound`, also for one that was erased."""
        lead = self.remains(desk)
        if lead.erased:
            raise LeadNotFound
        return lead

    def remains(self, desk: Desk) -> Lead:
        """The lead, or what is left of it, for those who keep its books. Raises `LeadNotFound`."""
        lead = desk.any_lead(*self.key)
        if lead is None:
            raise LeadNotFound
        return lead


class ExpiryWork(OneLead):
    """Take back whatever of a lead's points is due."""

    def __init__(self, key: LeadKey) -> None:
        super().__init__(key, Part.POINTS, "cartwheel")

    def decide(self, desk: Desk) -> None:
        self.remains(desk).expire(desk.now)


class ClicksWork(OneLead):
    """Count the clicks of which it is known by now that a person made them."""

    def __init__(self, key: LeadKey) -> None:
        super().__init__(key, Part.MAILS | Part.CLICKS, BY_LEAD)

    def decide(self, desk: Desk) -> None:
        clicks.judge(self.lead(desk), desk.now)


class DeletionWork(OneLead):
    """Delete a lead, or bring it back."""

    def __init__(self, key: LeadKey, *, deleted: bool, origin: str) -> None:
        super().__init__(key, Part.PROFILE | Part.SEQUENCES | Part.QUEUE, origin)
        self._deleted = deleted

    def decide(self, desk: Desk) -> None:
        lead = self.lead(desk)
        if self._deleted:
            lead.delete(desk.now)
        else:
            lead.restore()


class EraseWork(OneLead):
    """Erase a lead, for good."""

    def __init__(self, key: LeadKey, origin: str) -> None:
        parts = Part.PROFILE | Part.SEQUENCES | Part.QUEUE | Part.SUPPRESSION | Part.ADDRESSES
        super().__init__(key, parts, origin)

    def decide(self, desk: Desk) -> None:
        lead = self.lead(desk)
        if not lead.has(Part.ADDRESSES) or lead.email not in lead.addresses:
            raise Entangled
        erase(lead, desk.now)


class DoubtWork(OneLead):
    """Decide about a mail in doubt: `again` sends it once more, otherwise, or if its lead was erased, it is given up."""

    def __init__(self, key: LeadKey, mail_key: int, *, again: bool, reason: str, origin: str) -> None:
        super().__init__(key, Part.MAILS, origin)
        self._mail_key = mail_key
        self._again = again
        self._reason = reason

    def decide(self, desk: Desk) -> Mail:
        """The mail as it is then. Raises `NotInDoubt`."""
        lead = self.remains(desk)
        mail = lead.mails.get(self._mail_key)
        if mail is None or mail.state is not MailState.IN_DOUBT:
            raise NotInDoubt(f"the mail {self._mail_key} is {mail.state if mail else 'gone'}, not in doubt")
        if lead.erased:
            lead.not_sent(mail, MailState.FAILED, ERASED)
        elif self._again:
            lead.try_later(mail, desk.now, self._reason)
        else:
            lead.not_sent(mail, MailState.FAILED, self._reason)
        return lead.mails[mail.key]


class SuppressionWork(OneLead):
    """An owner says that a lead is not to be mailed, or that it may be mailed again."""

    def __init__(
        self,
        key: LeadKey,
        *,
        suppressed: bool,
        origin: str,
        reason: SuppressionReason = SuppressionReason.DO_NOT_CONTACT,
        details: str = BY_OWNER,
    ) -> None:
        super().__init__(key, Part.PROFILE | Part.SUPPRESSION, origin)
        self._suppressed = suppressed
        self._reason = reason
        self._details = details

    def decide(self, desk: Desk) -> None:
        lead = self.lead(desk)
        if self._suppressed:
            lead.suppress(self._reason, self._details, desk.now)
        else:
            lead.lift_suppression(desk.now)
