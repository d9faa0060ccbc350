"""Whose clicks they are: told from what is stored, by whichever process, before anybody acts upon it."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import cycle, pairwise
from typing import NamedTuple

import pytest
from office import Office, mails
from runshop import ADA, MAIL, NewShop, Shop, shops
from sentmail import BROWSER, SentMail, send_mail

from cartwheel.data import schema
from cartwheel.mail.links import MailId
from cartwheel.sending.tracking import ClickWork
from cartwheel.times import to_micros
from cartwheel.work.housekeeping import Housekeeping
from commandline import Cartwheel
from conftest import Databases
from harness import Clock, Server, new_api

PERSON = BROWSER["User-Agent"]
SCANNER = "Barracuda Sentinel (EE)"


class Click(NamedTuple):
    """After so many seconds."""

    after: float
    link: int
    user_agent: str = PERSON


@pytest.fixture(scope="module")
def servers(engine: str, databases: Databases) -> Iterator[list[Server]]:
    """Two of them on one database, by one clock."""
    url = databases.migrated(engine)
    clock = Clock()
    running = [Server(url, clock=clock), Server(url, clock=clock)]
    yield running
    for server in running:
        server.stop()


@pytest.fixture
def sent(servers: list[Server]) -> SentMail:
    servers[0].clock.reset()
    return send_mail(new_api(servers[0]))


def follow(server: Server, mail: MailId, click: Click) -> None:
    async def counted() -> None:
        tracker = server.application.public.tracker
        tracker.clicked(mail, click.link, click.user_agent)
        await tracker.finish()

    server.run(counted)


def do(server: Server, work: ClickWork) -> None:
    server.run(lambda: server.application.batches.submit(work))


def keep_house(server: Server) -> None:
    house = Housekeeping(server.database, server.application.batches, clock=server.clock)
    server.run(house.round)


def by_turns(servers: list[Server], mail: MailId, clicks: list[Click]) -> datetime:
    """The processes get the clicks by turns; returns when the first can have come."""
    clock = servers[0].clock
    start = clock()
    for server, click in zip(cycle(servers), clicks, strict=False):
        clock.now = start + timedelta(seconds=click.after)
        follow(server, mail, click)
    return start


def clicked(sent: SentMail, start: datetime) -> tuple[float | None, float | None]:
    """After how many seconds a person, and a machine, clicked first."""
    times = (sent.row["clicked_at"], sent.row["machine_clicked_at"])
    first, machine = (None if at is None else round((at - to_micros(start)) / 1e6, 3) for at in times)
    return first, machine


@pytest.mark.parametrize(
    ("clicks", "person", "machine"),
    [
        ([Click(0, 0)], 0, None),
        ([Click(0, 0), Click(0.5, 0)], 0, None),
        ([Click(0, 0), Click(0.9, 1)], None, 0),
        ([Click(0, 0), Click(1, 1)], 0, None),
        ([Click(0, 0), Click(0.1, 1), Click(0.2, 2), Click(60, 1)], 60, 0),
        ([Click(0, 0), Click(0.5, 0), Click(1.4, 1)], None, 0),
        ([Click(0, 0), Click(60, 0), Click(60.5, 1)], 0, 60),
        ([Click(0, 0, SCANNER)], None, 0),
        ([Click(0, 0, SCANNER), Click(0.5, 1)], None, 0),
        ([Click(0, 0), Click(0.5, 1, SCANNER)], None, 0.5),
        ([Click(0, 0, SCANNER), Click(5, 0)], 5, 0),
    ],
)
def test_a_click_is_a_persons_if_no_other_link_is_followed_at_once(
    servers: list[Server], sent: SentMail, clicks: list[Click], person: float | None, machine: float | None
) -> None:
    start = by_turns(servers, sent.id, clicks)
    servers[0].clock.forward(seconds=2)
    keep_house(servers[1])
    # The scanner that said who it is counts from its own click.
    assert clicked(sent, start) == (person, machine)
    assert sent.kinds.count("mail_clicked") == (person is not None)


def expected(clicks: list[Click]) -> float | None:
    """When a person clicked first, worked out from all clicks at once: those less than a second apart belong together."""
    ordered = sorted(clicks)
    bursts = [[ordered[0]]]
    for before, click in pairwise(ordered):
        if round(click.after - before.after, 3) < 1:
            bursts[-1].append(click)
        else:
            bursts.append([click])
    people = [burst[0].after for burst in bursts if len({click.link for click in burst}) == 1]
    return min(people, default=None)


@pytest.mark.parametrize("seed", range(25))
def test_clicks_in_any_order_over_any_process_are_judged_alike(
    servers: list[Server], sent: SentMail, seed: int
) -> None:
    """A process that is held up stores a click after those that came later to another."""
    dice = random.Random(seed)
    after, clicks = 0.0, []
    for _ in range(dice.randint(1, 8)):
        clicks.append(Click(after, dice.randrange(2)))
        after = round(after + dice.choice([0.1, 0.4, 0.9, 1.0, 1.3, 3.0]), 3)
    clock = servers[0].clock
    start = clock()
    waiting = list(clicks)
    while waiting:
        first = waiting[0]
        late = [click for click in waiting if click.after - first.after < 0.5]
        click = dice.choice(late)
        waiting.remove(click)
        clock.now = max(clock.now, start + timedelta(seconds=click.after))
        work = ClickWork(sent.id, click.link, start + timedelta(seconds=click.after), PERSON)
        do(dice.choice(servers), work)
        if dice.random() < 0.5:
            keep_house(dice.choice(servers))
    clock.forward(seconds=2)
    for server in servers:
        keep_house(server)
    assert clicked(sent, start)[0] == expected(clicks)
    assert sent.kinds.count("mail_clicked") == (expected(clicks) is not None)


def test_a_click_that_is_stored_very_late_takes_back_what_was_counted(servers: list[Server], sent: SentMail) -> None:
    clock = servers[0].clock
    start = by_turns(servers, sent.id, [Click(0, 0)])
    clock.forward(seconds=2)
    keep_house(servers[0])
    assert clicked(sent, start) == (0, None)
    late = ClickWork(sent.id, 1, start + timedelta(seconds=0.5), PERSON)
    do(servers[1], late)
    assert clicked(sent, start) == (None, 0)


def test_who_wants_not_to_be_recorded_is_not_even_if_it_has_just_clicked(servers: list[Server], sent: SentMail) -> None:
    start = by_turns(servers, sent.id, [Click(0, 0)])
    sent.press(sent.preferences, do="untrack")
    servers[0].clock.forward(seconds=2)
    keep_house(servers[0])
    assert clicked(sent, start) == (None, None)
    [row] = sent.api.rows(schema.clicks)
    assert row["judge_at"] is None


# -- nobody acts upon what is not known --

CLICKED = {"type": "clicked", "box": "1"}
WAYS = {
    "wait": [MAIL, {"type": "wait_until", "condition": CLICKED}, MAIL],
    "goal": [MAIL, MAIL | {"delay": "9 days"}, {"type": "goal", "condition": CLICKED}, MAIL],
    "split": [
        MAIL,
        {"type": "split", "delay": "10 minutes", "condition": CLICKED, "then": "3", "otherwise": "4"},
        MAIL,
        MAIL,
    ],
}


@pytest.fixture
def shop(servers: list[Server], cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch) -> Iterator[NewShop]:
    servers[0].clock.reset()
    office = Office(servers[0])
    yield shops(office, cartwheel, monkeypatch)
    office.close()


def mail_of(flow: Shop) -> MailId:
    [mail] = mails(flow.api, ADA)
    return MailId(flow.api.account_id, int(flow.api.lead(ADA)["id"]), mail.key)


@pytest.mark.parametrize("way", ["wait", "goal"])
def test_a_scanner_wakes_nobody(servers: list[Server], shop: NewShop, way: str) -> None:
    flow = shop(*WAYS[way])
    flow.start()
    flow.pass_time(minutes=5)
    standing = flow.run
    for link, server in enumerate(servers):
        follow(server, mail_of(flow), Click(0, link))
        flow.pass_time(seconds=0.4)
        assert flow.run == standing
    flow.pass_time(seconds=5)
    keep_house(servers[1])
    flow.office.settle()
    assert (flow.run, flow.mailed) == (standing, ["1"])


@pytest.mark.parametrize("way", ["wait", "goal"])
def test_a_person_is_believed_after_two_seconds(servers: list[Server], shop: NewShop, way: str) -> None:
    flow = shop(*WAYS[way])
    flow.start()
    flow.pass_time(minutes=5)
    follow(servers[1], mail_of(flow), Click(0, 0))
    flow.pass_time(seconds=1.9)
    keep_house(servers[0])
    flow.office.settle()
    assert flow.mailed == ["1"]
    flow.pass_time(seconds=0.1)
    keep_house(servers[0])
    flow.office.settle()
    assert len(flow.mailed) == 2


def test_a_split_does_not_believe_a_click_that_is_not_judged(servers: list[Server], shop: NewShop) -> None:
    flow = shop(*WAYS["split"])
    flow.start()
    flow.pass_time(minutes=9, seconds=59.5)
    follow(servers[0], mail_of(flow), Click(0, 0))
    flow.pass_time(seconds=0.6)
    assert flow.mailed == ["1", "4"]
