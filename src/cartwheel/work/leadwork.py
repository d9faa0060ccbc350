"""Work on leads that is not an API call."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from cartwheel.accounts import Account
from cartwheel.data.leadstore import LeadKey, Wanted
from cartwheel.errors import LeadExists, LeadIsDeleted, LeadNotFound, LedgerChanged, NotInDoubt
from cartwheel.leads import clicks, mailing, merging
from cartwheel.leads.erasing import erase
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import ERASED, CustomValue, Gdpr, Grant, Part, Parts, Source, SuppressionReason
from cartwheel.leads.mails import Mail, MailState
from cartwheel.work.batches import Desk, Entangled, IdempotencyKey

BY_LEAD = "lead"
"""The origin of events that the lead itself brings about."""
R = TypeVar("R")

Change = Callable[[Lead, Account, datetime], R]
"""What somebody does to a lead; it needs the parts that are asked for beside it."""


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


class EditWork(OneLead, Generic[R]):
    """Somebody changes a lead, which is not deleted unless `deleted` allows that. Raises what the change raises."""

    def __init__(self, key: LeadKey, parts: Parts, change: Change[R], origin: str, *, deleted: bool = False) -> None:
        super().__init__(key, parts, origin)
        self._change = change
        self._may_be_deleted = deleted

    def decide(self, desk: Desk) -> R:
        lead = self.lead(desk)
        if lead.deleted_at is not None and not self._may_be_deleted:
            raise LeadIsDeleted
        return self._change(lead, desk.account(lead.account_id), desk.now)


class ProfileWork(OneLead):
    """Somebody changes a lead's address and fields. Raises `LeadExists`."""

    def __init__(
        self,
        key: LeadKey,
        email: str,
        profile: Mapping[str, str],
        custom: Mapping[int, CustomValue],
        origin: str,
    ) -> None:
        super().__init__(key, Part.PROFILE | Part.SUPPRESSION, origin)
        self.wanted = [*self.wanted, Wanted(key[0], None, email, Part.NONE)]
        self._email = email
        self._profile = profile
        self._custom = custom

    def decide(self, desk: Desk) -> None:
        lead = self.lead(desk)
        taken = desk.taken(lead.account_id, self._email)
        if taken is not None and taken.id != lead.id:
            raise LeadExists
        lead.rename(self._email)
        lead.edit(self._profile, self._custom)


class NewLeadWork:
    """Somebody adds a lead. Raises `LeadExists` or `LeadIsDeleted`."""

    idempotency: IdempotencyKey | None = None
    may_make_lead = True

    def __init__(self, account_id: int, email: str, profile: Mapping[str, str], origin: str) -> None:
        self.origin = origin
        self.wanted = [Wanted(account_id, None, email, Part.NONE)]
        self._profile = profile

    def decide(self, desk: Desk) -> int:
        """Its id."""
        account_id, _, email, _ = self.wanted[0]
        assert email is not None
        taken = desk.taken(account_id, email)
        if taken is not None:
            raise LeadExists if taken.deleted_at is None else LeadIsDeleted
        gdpr = Gdpr.UNKNOWN if desk.account(account_id).gdpr else Gdpr.OFF
        lead = Lead.create(account_id, desk.new_lead_id(), email, desk.now, source=Source.MANUAL, test=False, gdpr=gdpr)
        lead.fill(self._profile, {})
        desk.add(lead)
        return lead.id


class MergeWork(OneLead):
    """One lead gets what another has, which is then deleted. Raises `LedgerChanged` if that one's `ledger` has changed."""

    def __init__(self, key: LeadKey, other: LeadKey, ledger: Sequence[Grant], origin: str) -> None:
        super().__init__(key, merging.NEEDED, origin)
        self.wanted = [*self.wanted, Wanted(*other, None, merging.NEEDED)]
        self._other = other
        self._ledger = ledger

    def decide(self, desk: Desk) -> str:
        """The address of the one that is kept. Raises `LeadNotFound`, `LeadIsDeleted`."""
        kept, other = self.lead(desk), desk.any_lead(*self._other)
        if other is None or other.erased or other.id == kept.id:
            raise LeadNotFound
        if kept.deleted_at is not None or other.deleted_at is not None:
            raise LeadIsDeleted
        if sum(grant.points for grant in self._ledger if grant.reversed_at is None) != other.score:
            raise LedgerChanged
        merging.merge(kept, other, self._ledger, desk.now)
        return kept.email


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

    def decide(self, desk: Desk) -> bool:
        """Whether that is a change."""
        lead = self.lead(desk)
        before = lead.deleted_at
        if self._deleted:
            lead.delete(desk.now)
        else:
            lead.restore()
        return lead.deleted_at != before


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
    """Decide about a mail in doubt: `again` sends it once more, otherwise, or if its lead was erased, it is given up.

    Also one that failed before any server had taken it is sent `again`, if its lead is mailed at all.
    """

    def __init__(self, key: LeadKey, mail_key: int, *, again: bool, reason: str, origin: str) -> None:
        super().__init__(key, Part.MAILS | Part.SUPPRESSION, origin)
        self._mail_key = mail_key
        self._again = again
        self._reason = reason

    def decide(self, desk: Desk) -> Mail:
        """The mail as it is then. Raises `NotInDoubt`."""
        lead = self.remains(desk)
        mail = lead.mails.get(self._mail_key)
        if mail is None or not (mail.state is MailState.IN_DOUBT or (self._again and mail.never_taken)):
            raise NotInDoubt(f"the mail {self._mail_key} is {mail.state if mail else 'gone'}, not in doubt")
        if mail.never_taken and (lead.erased or lead.suppression.reason):
            raise NotInDoubt(f"nobody is mailed by the mail {self._mail_key}: {lead.suppression.reason or ERASED}")
        if lead.erased:
            lead.not_sent(mail, MailState.FAILED, ERASED)
        elif self._again:
            mailing.again(lead, mail, desk.now, self._reason)
        else:
            lead.not_sent(mail, MailState.FAILED, self._reason)
        return lead.mails[mail.key]


class ConsentWork(OneLead):
    """An owner, who can prove it, says that a lead agrees to commercial mail, or does not any more."""

    def __init__(self, key: LeadKey, *, agreed: bool, origin: str) -> None:
        super().__init__(key, Part.PROFILE, origin)
        self._agreed = agreed

    def decide(self, desk: Desk) -> None:
        self.lead(desk).agree(desk.now, agreed=self._agreed)


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
