"""Which mails the pages ask for, as it stands in an address."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cartwheel.accounts import Account
from cartwheel.data.mailledger import Wish
from cartwheel.leads.mails import MailState
from cartwheel.readers import digits

ASKED = ("state", "sequence", "step", "server", "address", "since", "until", "seen")
SEEN = ("opened", "clicked", "unopened")


def wish(account: Account, asked: Mapping[str, Any]) -> Wish:
    """What was asked for; what cannot be read is not asked for."""
    state, sequence, seen = (str(asked.get(name, "")) for name in ("state", "sequence", "seen"))
    until = _day(account.zone, asked.get("until", ""))
    return Wish(
        state=MailState(state) if state in set(MailState) else None,
        sequence_id=digits(sequence),
        box=str(asked.get("step", ""))[:100],
        server=str(asked.get("server", ""))[:300],
        address=str(asked.get("address", "")).strip().lower()[:300],
        since=_day(account.zone, asked.get("since", "")),
        until=until + timedelta(days=1) if until else None,
        seen=seen if seen in SEEN else "",
    )


def _day(zone: ZoneInfo, text: Any) -> datetime | None:
    """The beginning of a day of the account."""
    try:
        day = date.fromisoformat(str(text))
    except ValueError:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=zone) if 1970 < day.year < 3000 else None  # noqa: PLR2004
