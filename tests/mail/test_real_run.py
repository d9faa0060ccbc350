"""All of it at once: `cartwheel serve` and its worker, a mail server that others wrote, and a lead that changes its mind."""

import email
import email.policy
import re
import socket
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import dkim as dkimpy
import httpx
import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from cartwheel.accountfiles import accountfile
from cartwheel.data import schema
from cartwheel.data.db import Database
from cartwheel.times import now
from commandline import Cartwheel as CommandLine
from conftest import Databases
from running import Cartwheel
from test_serving import until

ACCOUNT = """
[account]
name = "Shop"
api_key = "the-key-of-the-shop"
api_password = "the-password-of-the-shop"
mail = { sender = "Shop <hello@shop.example>", address = "1 Example Road, London" }
[[apps]]
name = "Website"
app_id = "the-app-of-the-shop"
[[sequences]]
name = "Welcome"
[[sequences.steps]]
box = "1"
type = "email"
subject = "Welcome, {first_name|friend}"
markdown = "Hello {first_name|friend}: [look around](https://shop.example/new)."
[[sequences.steps]]
box = "2"
type = "email"
delay = "1 day"
subject = "The second day"
html = "<p>Still here?</p>"
"""


class PostOffice:
    """Takes every mail, as aiosmtpd has it."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert isinstance(envelope.content, bytes)
        self.taken.append((envelope.rcpt_tos[0], envelope.content))
        return "250 2.0.0 Ok"

    def mails_to(self, address: str) -> list[bytes]:
        return [content for to, content in self.taken if to == address]


@pytest.fixture
def post_office() -> Iterator[tuple[PostOffice, int]]:
    office = PostOffice()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    controller = Controller(office, hostname="127.0.0.1", port=port)
    controller.start()
    yield office, port
    controller.stop()


@pytest.fixture
def database(engine: str, databases: Databases) -> Iterator[Database]:
    made = Database(databases.migrated(engine))
    made.migrate()
    accountfile.apply(made, accountfile.read_text(ACCOUNT, Path()), now())
    yield made
    made.close()


def call(url: str, address: str, *actions: dict[str, str]) -> str:
    fields = {"app_id": "the-app-of-the-shop", "api_key": "the-key-of-the-shop", "lead[email]": address}
    fields |= {"api_password": "the-password-of-the-shop", "lead[first_name]": address.partition("@")[0].title()}
    for number, action in enumerate(actions):
        fields |= {f"actions[{number}][{name}]": value for name, value in action.items()}
    return httpx.post(f"{url}/api", data=fields).text


def subscribe(url: str, address: str) -> None:
    said = call(
        url,
        address,
        {"cmd": "create_lead"},
        {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "Welcome", "step": "1"},
        {"cmd": "give_points_to_lead", "points": "10", "expiration": "30"},
    )
    assert '"type":"107"' in said


def days_pass(database: Database) -> None:
    """For what waits: a process's clock cannot be set."""
    with database.write() as connection:
        for column in (schema.enrolments.c.due_at, schema.enrolments.c.arrived_at, schema.points.c.expires_at):
            later = column - 40 * 86_400 * 1_000_000
            connection.execute(sa.update(column.table).where(column.is_not(None)).values({column.name: later}))


def key_of(domain: str, cartwheel: CommandLine) -> Callable[..., bytes]:
    """A DNS in which the records stand that `cartwheel domain add` says."""
    said = cartwheel("domain", "add", domain, "--json").json
    records = {record["name"]: record["value"].encode() for record in said["records"]}

    def txt(name: bytes, timeout: int = 5) -> bytes:  # noqa: ARG001 - as dkimpy calls it
        value: bytes = records[name.decode().rstrip(".")]
        return value

    return txt


def test_a_mail_arrives_is_signed_and_one_click_stops_the_rest(
    database: Database,
    post_office: tuple[PostOffice, int],
    cartwheel: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    office, port = post_office
    monkeypatch.setenv("CARTWHEEL_DATABASE", database.url)
    dns = key_of("shop.example", cartwheel)
    smtp = f"smtp://127.0.0.1:{port}"
    with Cartwheel("serve", "--port", 0, database=database.url, smtp=smtp, worker="yes") as server:
        url = server.wait_for_url()
        subscribe(url, "ada@lead.example")
        subscribe(url, "grace@lead.example")
        until(lambda: len(office.taken) == 2)
        [raw] = office.mails_to("ada@lead.example")
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        assert message["Subject"] == "Welcome, Ada"
        assert message["From"] == "Shop <hello@shop.example>"
        assert message["Message-ID"].endswith("@shop.example>")
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        plain, html = message.get_body(("plain",)), message.get_body(("html",))
        assert plain is not None
        assert html is not None
        assert "Hello Ada: look around (https://shop.example/new)." in plain.get_content()
        assert "1 Example Road, London" in html.get_content()
        assert dkimpy.verify(raw, dnsfunc=dns)
        assert not dkimpy.verify(raw.replace(b"Welcome, Ada", b"Welcome, Eve"), dnsfunc=dns)

        click = re.search(rf'href="({re.escape(url)}/c/[^"]+)"', html.get_content())
        assert click is not None
        followed = httpx.get(click[1].replace("&amp;", "&"))
        assert followed.headers["Location"] == "https://shop.example/new"

        one_click = message["List-Unsubscribe"].strip("<>")
        assert httpx.post(one_click, data={"List-Unsubscribe": "One-Click"}).status_code == 200
        days_pass(database)
        until(lambda: len(office.mails_to("grace@lead.example")) == 2)
        until(lambda: expired(database))
        assert len(office.mails_to("ada@lead.example")) == 1
        assert server.stop() == 0
    assert cartwheel("doctor").code == 0


def expired(database: Database) -> bool:
    """Whether every grant of points was taken back."""
    with database.read() as connection:
        scores = connection.execute(sa.select(schema.leads.c.score)).scalars().all()
    return scores == [0, 0]
