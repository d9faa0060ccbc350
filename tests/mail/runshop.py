"""An account with one sequence, whose owner edits it and looks after who is in it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import tomli_w
from office import Office, states

from cartwheel import times
from cartwheel.accountfiles import accountfile
from cartwheel.data import schema
from cartwheel.leads.mails import MailState
from commandline import Cartwheel
from conftest import Databases
from harness import Server, new_api

ADA = "ada@shop.example"
MAIL = {"type": "email", "subject": "Hello", "html": "<p>Hello</p>"}
LATER = MAIL | {"delay": "2 days", "subject": "Later"}
NEW = MAIL | {"subject": "New"}


@contextmanager
def opened(engine: str, databases: Databases) -> Iterator[Office]:
    """An office with a server of its own: it does everything that is due in a database."""
    server = Server(databases.migrated(engine))
    office = Office(server)
    yield office
    office.close()
    server.stop()


class Shop:
    """An account with one sequence, Flow, and who looks after it."""

    def __init__(self, office: Office, cartwheel: Cartwheel, *steps: dict[str, Any], **more: Any) -> None:
        server = office.server
        self.office, self._cartwheel, self._clock = office, cartwheel, server.clock
        self._file: dict[str, Any] = {
            "account": {"name": "", "mail": {"sender": "Shop <hello@shop.example>"}},
            "apps": [{"name": "Website", "rate_limit": 0}],
            "tags": [{"name": "Customer"}],
        }
        self.api = new_api(server, file=tomli_w.dumps(self._with(steps, more)))
        with server.database.read() as connection:
            query = sa.select(schema.accounts.c.name).where(schema.accounts.c.id == self.api.account_id)
            self.name = self._file["account"]["name"] = str(connection.execute(query).scalar_one())
        del self._file["apps"]

    def _with(self, steps: tuple[dict[str, Any], ...], more: dict[str, Any]) -> dict[str, Any]:
        numbered = [{"box": str(number), **step} for number, step in enumerate(steps, 1)]
        return self._file | {"sequences": [{"name": "Flow", "steps": numbered, **more}]}

    def edit(self, *steps: dict[str, Any], **more: Any) -> None:
        """Apply the file with other steps."""
        wanted = accountfile.read_text(tomli_w.dumps(self._with(steps, more)), Path())
        accountfile.apply(self.api.server.database, wanted, self._clock())

    def __call__(self, verb: str, *arguments: object) -> Any:
        """A verb of `cartwheel sequence`; what it prints, or its one line of trouble."""
        ran = self._cartwheel("sequence", verb, "Flow", *arguments, "--account", self.name)
        if ran.code:
            return ran.trouble
        return ran.json if "--json" in arguments else ran.out

    def start(self, email: str = ADA, step: str = "1") -> None:
        if not self.api.rows(schema.leads, email=email):
            self.api.create(email)
        self.api.on(email, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step=step)
        self.office.settle()

    def leave(self) -> None:
        self.api.on(ADA, "unsubscribe_lead_from_sequence", sequence_name="Flow")

    def pass_time(self, **time: float) -> None:
        self._clock.forward(**time)
        self.office.settle()

    @property
    def run(self) -> dict[str, Any]:
        """The only lead's latest run."""
        [row] = self.api.rows(schema.enrolments, latest=True)
        return row

    @property
    def mailed(self) -> list[str]:
        """The boxes whose mails Ada got."""
        return [box for box, state in states(self.api, ADA) if state is MailState.ACCEPTED]

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.api.events(self.api.lead(ADA)["id"])]


NewShop = Callable[..., Shop]


def shops(office: Office, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch) -> NewShop:
    """Makes the account: call it with the steps. The command line goes by the server's clock, too."""
    monkeypatch.setenv("CARTWHEEL_DATABASE", office.server.database.url)
    monkeypatch.setattr(times, "now", office.server.clock)

    def make(*steps: dict[str, Any], **more: Any) -> Shop:
        return Shop(office, cartwheel, *steps, **more)

    return make
