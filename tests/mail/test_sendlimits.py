"""How fast mails leave: by a server and to a receiving domain, over all processes and starts."""

from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from office import Office, mails, states
from sink import Sink

from cartwheel.leads.mails import MailState
from cartwheel.mail.smtpurl import Server as MailServer
from cartwheel.sending.sendlimits import FARTHEST, SendLimits, limits_of
from cartwheel.times import from_micros, to_micros
from harness import Server, new_api

START = datetime(2026, 3, 1, 14, 15, tzinfo=UTC)
AGES_AGO = 0


def server_with(**limits: int) -> MailServer:
    return MailServer(host="mail.example", port=25, **limits)  # type: ignore[arg-type] # numbers only


class Queue:
    """Messages for one server that wait for nothing but their turn."""

    def __init__(self, server: MailServer, *domains: str) -> None:
        self.server = server
        self.limits = SendLimits()
        known = {limit.name for domain in domains for limit in limits_of(server, f"x@{domain}")}
        self.limits.learn((name, AGES_AGO) for name in known)

    def ask(self, domain: str, at: datetime) -> datetime | None:
        """When to ask again; None if it has left."""
        return self.limits.take(limits_of(self.server, f"x@{domain}"), at).put_off


def leave(server: MailServer, domains: Callable[[int], str], until_s: float) -> list[float]:
    """When messages leave, one after the other."""
    queue = Queue(server, *{domains(count) for count in range(10)})
    now, times = START, list[float]()
    while (passed := (now - START).total_seconds()) < until_s:
        put_off = queue.ask(domains(len(times)), now)
        if put_off is None:
            times.append(passed)
        else:
            assert put_off > now
            now = put_off
    return times


def most_in(times: list[float], seconds: float) -> int:
    return max(bisect_left(times, start + seconds) - first for first, start in enumerate(times))


@settings(deadline=None, max_examples=40)
@given(most=st.integers(1, 400))
def test_no_second_sees_more_messages_than_allowed(most: int) -> None:
    times = leave(server_with(per_second=most), lambda _: "shop.example", 2.5)
    assert most_in(times, 1) == most
    assert len(times) >= 2.4 * most - most / 10


@pytest.mark.parametrize("most", [1, 7, 10, 500])
def test_no_hour_sees_more_messages_than_allowed(most: int) -> None:
    times = leave(server_with(per_hour=most), lambda _: "shop.example", 9000)
    assert most_in(times, 3600) == most
    assert len(times) >= 2 * most


def test_all_limits_hold_at_the_same_time() -> None:
    server = server_with(per_second=10, per_hour=60, domain_per_second=1, domain_per_hour=30)
    domains = ["a.example", "b.example", "c.example"]
    times = leave(server, lambda count: domains[count % 3], 3600)
    assert (most_in(times, 1), most_in(times, 3600)) == (3, 60)
    times = leave(server, lambda _: "a.example", 3600)
    assert (most_in(times, 1), most_in(times, 3600)) == (1, 30)


def test_who_has_to_wait_for_one_limit_takes_no_place_in_another() -> None:
    queue = Queue(server_with(per_hour=2, domain_per_hour=1), "a.example", "b.example")
    assert queue.ask("a.example", START) is None
    later = START + timedelta(hours=0.5)
    assert queue.ask("a.example", later) == later + timedelta(hours=0.5)
    assert queue.ask("b.example", later) is None


def test_servers_and_domains_are_counted_apart() -> None:
    one = server_with(domain_per_hour=1)
    two = MailServer(host="other.example", port=25, domain_per_hour=1)
    names = {
        limit.name for server in (one, two) for domain in "ab" for limit in limits_of(server, f"x@{domain}.example")
    }
    assert len(names) == 4


def test_those_that_wait_line_up_and_find_their_place_when_it_comes() -> None:
    queue = Queue(server_with(per_second=10), "shop.example")
    waiting = [queue.ask("shop.example", START) for _ in range(500)]
    places = [place for place in waiting if place is not None]
    assert len(places) == 499
    assert places == sorted(set(places))
    assert [queue.ask("shop.example", place) for place in places] == [None] * 499
    assert places[-1] - START == timedelta(seconds=49.9)


def test_nobody_is_put_off_for_longer_than_an_hour() -> None:
    queue = Queue(server_with(per_hour=1), "shop.example")
    places = [queue.ask("shop.example", START) for _ in range(9)]
    assert places == [None, *[from_micros(to_micros(START) + FARTHEST)] * 8]


def test_a_clock_that_is_set_back_costs_nobody_a_day() -> None:
    queue = Queue(server_with(per_hour=10), "shop.example")
    for _ in range(3):
        queue.ask("shop.example", START)
    earlier = START - timedelta(days=1)
    assert queue.ask("shop.example", earlier) is None
    put_off = queue.ask("shop.example", earlier)
    assert put_off is not None
    assert put_off - earlier <= timedelta(minutes=6)


# -- over processes --


pytestmark = pytest.mark.own_server


def test_processes_share_a_limit_and_a_start_forgets_nothing(server: Server) -> None:
    shop = new_api(server, account={"mail": {"sender": "The Shop <hello@shop.example>"}})
    people = [f"lead{number}@{'ab'[number % 2]}.example" for number in range(30)]
    for email in people:
        shop.create(email)
        shop.on(email, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    with Sink() as sink:
        url = sink.url(per_hour=20, domain_per_hour=12)
        left: list[int] = []
        for start in range(3):
            offices = [Office(server, CARTWHEEL_SMTP=url) for _ in range(2)]
            for turn in range(15):
                offices[(start + turn) % 2].settle()
                left.append(len(sink.messages))
                server.clock.forward(minutes=4)
            for office in offices:
                office.close()
        assert (left[0], left[-1]) == (2, 30)
        in_an_hour = [later - earlier for earlier, later in zip([0, *left], left[14:], strict=False)]
        assert 15 < max(in_an_hour) <= 20
        assert sorted(message.rcpt for message in sink.messages) == sorted(f"TO:<{email}>" for email in people)
    assert states(shop, people[0]) == [("1", MailState.ACCEPTED)]
    assert [mail.attempts for email in people for mail in mails(shop, email)] == [1] * 30, "put off, not handed over"
