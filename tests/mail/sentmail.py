"""Mails that were sent to leads of the tests, and the links in them."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.signingkeys import link_signer
from cartwheel.leads.mails import MailState
from cartwheel.mail.links import Kind, MailId, Signer
from cartwheel.times import to_micros
from cartwheel.work.housekeeping import Housekeeping
from harness import Api

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class SentMail:
    """A mail of the sequence Welcome that a server has taken, a minute ago by the server's clock."""

    api: Api
    email: str
    id: MailId
    signer: Signer

    def token(self, kind: Kind, link: int = 0, target: str = "") -> str:
        return self.signer.token(kind, self.id, link, target)

    @property
    def stop(self) -> str:
        return f"/u/{self.token(Kind.UNSUBSCRIBE)}"

    @property
    def preferences(self) -> str:
        return f"/p/{self.token(Kind.PREFERENCES)}"

    @property
    def pixel(self) -> str:
        return f"/o/{self.token(Kind.OPEN)}"

    def click(self, target: str = "https://shop.example/", link: int = 0) -> str:
        return f"/c/{self.token(Kind.CLICK, link, target)}?to={quote(target, safe='')}"

    def get(self, path: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.api.server.http.get(path, headers=BROWSER | named)
        self.settle()
        return answer

    def press(self, path: str, **fields: Any) -> httpx.Response:
        """A button on a page."""
        return self.api.server.http.post(path, data=fields, headers=BROWSER)

    def settle(self) -> None:
        self.api.server.run(self.api.server.application.public.tracker.finish)

    def judge(self) -> None:
        """So much time passes that clicks count as a person's."""
        self.api.server.clock.forward(seconds=2)
        house = Housekeeping(self.api.server.database, self.api.server.application.batches, clock=self.api.server.clock)
        self.api.server.run(house.round)

    @property
    def row(self) -> dict[str, Any]:
        [row] = self.api.rows(schema.mails, lead_id=self.id.lead_id, id=self.id.mail_id)
        return row

    @property
    def status(self) -> str:
        """Of the lead's run."""
        [row] = self.api.rows(schema.enrolments, lead_id=self.id.lead_id, latest=True)
        return str(row["status"])

    @property
    def kinds(self) -> list[str]:
        """What has happened to the lead."""
        return [kind for kind, _ in self.api.events(str(self.id.lead_id))]

    @property
    def suppression(self) -> str:
        rows = self.api.rows(schema.suppressions, email=self.email)
        return str(rows[0]["reason"]) if rows else ""

    def another(self) -> "SentMail":
        """One more mail to the same lead."""
        number = self.id.mail_id + 1
        with self.api.server.database.write() as connection:
            connection.execute(sa.insert(schema.mails).values(self.row | {"id": number, "move": 50 + number % 1000}))
        return replace(self, id=self.id._replace(mail_id=number))


def send_mail(api: Api, email: str = "ada@shop.example", **fields: str) -> SentMail:
    """Make a lead on the list Newsletter and in the sequence Welcome, which was sent one mail."""
    lead_id = int(api.create(email, **fields))
    api.on(email, "subscribe_lead_to_list", list_name="Newsletter")
    api.on(email, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    [run] = api.rows(schema.enrolments, lead_id=lead_id)
    sent_at = to_micros(api.server.clock() - timedelta(minutes=1))
    row = {
        "account_id": api.account_id,
        "lead_id": lead_id,
        "id": sent_at,
        "run": run["id"],
        "move": 50,
        "sequence_id": run["sequence_id"],
        "version": run["version"],
        "box": "1",
        "state": MailState.ACCEPTED.value,
        "queued_at": sent_at,
        "next_at": None,
        "attempts": 1,
        "soft": 0,
        "address": email,
        "server": "smtp",
        "reply": "250 ok",
        "sent_at": sent_at,
    }
    with api.server.database.write() as connection:
        connection.execute(sa.insert(schema.mails).values(row))
    return SentMail(api, email, MailId(api.account_id, lead_id, sent_at), link_signer(api.server.database))
