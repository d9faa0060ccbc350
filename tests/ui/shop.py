"""An account whose mail is really sent, for tests of the pages that show it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
import tomli_w
from office import Office

from cartwheel.data import schema
from harness import Api, Server, new_api

HTML = '<p>Hello {first_name|you}, <a href="https://shop.example/tour">the tour</a></p><script>alert(1)</script>'
MAIL = {"type": "email", "subject": "Hello {first_name|you}", "html": HTML}
LATER = MAIL | {"delay": "2 days", "subject": "Later"}


class MailShop:
    """An account with the sequence Flow."""

    def __init__(self, server: Server, office: Office) -> None:
        numbered = [{"box": str(number), **step} for number, step in enumerate((MAIL, LATER), 1)]
        self.office = office
        self.api: Api = new_api(
            server,
            file=tomli_w.dumps(
                {
                    "account": {
                        "name": "",
                        "mail": {"sender": "Shop <hello@shop.example>", "address": "1 Main Street"},
                    },
                    "apps": [{"name": "Website", "rate_limit": 0}],
                    "sequences": [{"name": "Flow", "steps": numbered}],
                }
            ),
        )

    def start(self, *emails: str, settle: bool = True) -> None:
        for email in emails:
            self.api.on(email, "create_lead")
            self.api.on(email, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="1")
        if settle:
            self.office.settle()
        else:
            self.office.take_along()

    def row(self, email: str) -> dict[str, Any]:
        """The lead's last mail."""
        [lead] = self.api.rows(schema.leads, email=email)
        return max(self.api.rows(schema.mails, lead_id=lead["id"]), key=lambda row: int(row["id"]))

    def path(self, email: str) -> str:
        row = self.row(email)
        return f"/mail/{row['lead_id']}/{row['id']}"

    def change(self, email: str, **values: Any) -> None:
        """As if it had happened."""
        row, table = self.row(email), schema.mails
        here = (table.c.account_id == self.api.account_id) & (table.c.lead_id == row["lead_id"])
        with self.api.server.database.write() as connection:
            connection.execute(sa.update(table).where(here, table.c.id == row["id"]).values(**values))


@contextmanager
def opened(server: Server, **environment: str) -> Iterator[MailShop]:
    office = Office(server, **environment)
    try:
        yield MailShop(server, office)
    finally:
        office.close()
