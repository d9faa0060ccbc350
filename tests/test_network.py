"""Who calls, when there are proxies in between, and whether they may come by plain http."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from cartwheel import network
from cartwheel.data import schema
from cartwheel.network import Client, find_client, read_address, read_network, read_networks
from conftest import Databases
from harness import Server, new_api
from rawhttp import Line, request

# -- addresses and networks --

ADDRESSES = {
    "203.0.113.9": "203.0.113.9",
    " 203.0.113.9\t": "203.0.113.9",
    "203.0.113.9:443": "203.0.113.9",
    '"203.0.113.9:443"': "203.0.113.9",
    "::ffff:203.0.113.9": "203.0.113.9",
    "::FFFF:cb00:7109": "203.0.113.9",
    "[::ffff:203.0.113.9]:443": "203.0.113.9",
    "::ffff:127.0.0.1": "127.0.0.1",
    "2001:db8::1": "2001:db8::1",
    "2001:0DB8:0:0:0:0:0:1": "2001:db8::1",
    "[2001:db8::1]": "2001:db8::1",
    '"[2001:db8::1]:443"': "2001:db8::1",
    "fe80::1%eth0": "fe80::1",
    "[fe80::1%25eth0]:80": "fe80::1",
}


@pytest.mark.parametrize(("text", "address"), ADDRESSES.items())
def test_an_address_is_read_however_it_is_written(text: str, address: str) -> None:
    assert str(read_address(text)) == address


UNREADABLE = ["", " ", "unknown", "_hidden", "-", "localhost", "203.0.113", "203.0.113.256", "203.0.113.09", "3405803785",
              "0x7f.0.0.1", "203.0.113.9:", "203.0.113.9:x", "203.0.113.9:1:2", "[2001:db8::1", "2001:db8::1]",
              "[2001:db8::1]x", "[2001:db8::1]:", "[2001:db8::1]:x", "[]", "[]:80", "2001:db8:::1", "127.0.0.1, 10.0.0.1",
              "127.0.0.1/8", "for=127.0.0.1", "127.0.0.1;", "١٢٧.0.0.1"]  # fmt: skip


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_is_no_address_is_nobody(text: str) -> None:
    address = read_address(text)
    assert address is None
    assert not Client(address, secure=False).is_loopback
    assert not network.within(address, [read_network("0.0.0.0/0"), read_network("::/0")])
    assert not network.allowed(address, (read_network("0.0.0.0/0"), read_network("::/0")))


ALLOWED = [
    ("203.0.113.0/24", ["203.0.113.0", "203.0.113.255", "::ffff:203.0.113.77"], ["203.0.112.255", "203.0.114.0"]),
    ("203.0.113.9/24", ["203.0.113.0", "203.0.113.255"], ["203.0.114.0"]),
    ("203.0.113.9", ["203.0.113.9"], ["203.0.113.8", "203.0.113.10", "::203.0.113.9"]),
    ("203.0.113.8/31", ["203.0.113.8", "203.0.113.9"], ["203.0.113.7", "203.0.113.10"]),
    ("203.0.113.9/32", ["203.0.113.9"], ["203.0.113.8", "203.0.113.10"]),
    ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["2001:db8::1", "::1"]),
    ("10.0.0.0/255.0.0.0", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
    ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"], ["2001:db7::", "2001:db9::"]),
    ("2001:db8::1", ["2001:db8::1"], ["2001:db8::", "2001:db8::2"]),
    ("::/0", ["2001:db8::1", "::1"], ["203.0.113.9", "::ffff:203.0.113.9"]),
    ("::ffff:203.0.113.0/120", ["203.0.113.9", "::ffff:203.0.113.9"], ["203.0.114.9", "::203.0.113.9"]),
    ("::ffff:203.0.113.9", ["203.0.113.9"], ["203.0.113.8"]),
    ("::ffff:0:0/96", ["203.0.113.9"], ["2001:db8::1"]),
]


@pytest.mark.parametrize(("text", "inside", "outside"), ALLOWED, ids=[row[0] for row in ALLOWED])
def test_an_allow_list_ends_where_its_networks_end(text: str, inside: list[str], outside: list[str]) -> None:
    networks = (read_network("198.51.100.7"), read_network(text))
    assert [address for address in inside if not network.allowed(read_address(address), networks)] == []
    assert [address for address in outside if network.allowed(read_address(address), networks)] == []


@pytest.mark.parametrize(
    "text", ["", "x", "203.0.113.0/33", "203.0.113.0/-1", "2001:db8::/129", "203.0.113.0/x", "1/2/3"]
)
def test_an_allow_list_that_cannot_be_read_lets_nobody_in(text: str) -> None:
    networks = read_networks(["0.0.0.0/0", text])
    assert networks is None
    assert not network.allowed(read_address("203.0.113.9"), networks)


def test_an_empty_allow_list_lets_everybody_in() -> None:
    assert all(network.allowed(read_address(text), ()) for text in ("203.0.113.9", "2001:db8::1", "unknown"))


def test_failures_are_counted_by_address_or_by_the_64_bits_of_a_customer() -> None:
    by_prefix = {text: Client(read_address(text), secure=True).prefix for text in (*ADDRESSES, "2001:db8:0:1::1")}
    assert by_prefix["203.0.113.9"] == by_prefix["[::ffff:203.0.113.9]:443"] == "203.0.113.9"
    assert by_prefix["2001:db8::1"] == "2001:db8::/64"
    assert by_prefix["2001:db8:0:1::1"] == "2001:db8:0:1::/64"


# -- proxies --

CLIENTS = {
    "nobody forwards": ("10.0.0.1", "", "10.0.0.1"),
    "a proxy of ours": ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
    "a proxy of ours by IPv6": ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
    "a stranger who pretends": ("198.51.100.7", "203.0.113.9", "198.51.100.7"),
    "a stranger next to our network": ("11.0.0.0", "203.0.113.9", "11.0.0.0"),
    "two proxies": ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
    "two proxies, one by IPv6": ("10.0.0.1", "203.0.113.9,[2001:db8:1::2]:8443", "203.0.113.9"),
    "a forged entry before the true one": ("10.0.0.1", "127.0.0.1, 203.0.113.9", "203.0.113.9"),
    "forged proxies before the true one": ("10.0.0.1", "1.2.3.4, 10.0.0.3, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
    "proxies all the way": ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
    "with ports": ("10.0.0.1", "203.0.113.9:51234, 10.0.0.2:80", "203.0.113.9"),
    "IPv6 in brackets": ("10.0.0.1", "[2001:db8::9]:51234", "2001:db8::9"),
    "IPv6 without": ("10.0.0.1", "2001:db8::9", "2001:db8::9"),
    "quoted": ("10.0.0.1", '"[2001:db8::9]:51234"', "2001:db8::9"),
    "unknown": ("10.0.0.1", "unknown", "None"),
    "unreadable behind a proxy": ("10.0.0.1", "203.0.113.9, x, 10.0.0.2", "None"),
    "nothing at the end": ("10.0.0.1", "203.0.113.9, ", "None"),
    "nothing but commas": ("10.0.0.1", ",,", "None"),
    "unreadable left of the client": ("10.0.0.1", "<script>, 203.0.113.9", "203.0.113.9"),
    "no peer at all": ("", "203.0.113.9", "None"),
}


@pytest.mark.parametrize(("peer", "forwarded_for", "client"), CLIENTS.values(), ids=CLIENTS)
def test_the_client_is_the_first_that_no_proxy_of_ours_vouches_for(peer: str, forwarded_for: str, client: str) -> None:
    proxies = (read_network("10.0.0.0/8"), read_network("2001:db8:1::/48"))
    found = find_client(peer, tls=False, forwarded_for=forwarded_for, forwarded_proto="", proxies=proxies)
    assert str(found.address) == client


SCHEMES = [
    ("10.0.0.1", "https", True),
    ("10.0.0.1", " HTTPS ", True),
    ("10.0.0.1", "https, https", True),
    ("10.0.0.1", "http", False),
    ("10.0.0.1", "http, https", False),
    ("10.0.0.1", "https, http", False),
    ("10.0.0.1", "https,", False),
    ("10.0.0.1", "httpsx", False),
    ("10.0.0.1", "", False),
    ("198.51.100.7", "https", False),
]


@pytest.mark.parametrize(("peer", "forwarded_proto", "secure"), SCHEMES)
def test_a_call_is_secure_when_every_proxy_of_ours_says_so(peer: str, forwarded_proto: str, *, secure: bool) -> None:
    proxies = (read_network("10.0.0.0/8"),)
    found = find_client(peer, tls=False, forwarded_for="203.0.113.9", forwarded_proto=forwarded_proto, proxies=proxies)
    assert found.secure is secure


@pytest.mark.parametrize(
    ("proxies", "forwarded_proto", "secure"),
    [((), "", True), ((), "http", True), (("10.0.0.0/8",), "", True), (("10.0.0.0/8",), "http", False)],
)
def test_own_tls_is_secure_unless_a_proxy_says_that_the_client_came_without(
    proxies: tuple[str, ...], forwarded_proto: str, *, secure: bool
) -> None:
    ours = tuple(read_network(text) for text in proxies)
    found = find_client("10.0.0.1", tls=True, forwarded_for="", forwarded_proto=forwarded_proto, proxies=ours)
    assert found.secure is secure


def test_a_proxy_that_tells_the_scheme_but_no_address_calls_for_nobody_known() -> None:
    proxies = (read_network("127.0.0.0/8"),)
    found = find_client("127.0.0.1", tls=False, forwarded_for="", forwarded_proto="http", proxies=proxies)
    assert found.address is None
    assert not found.is_loopback


# -- the whole way --

NOT_SECURE = '{"status":"Error","message":"Connection not secure","type":"201"}'
FORBIDDEN = '{"status":"Error","message":"This API call was sent from an unauthorized IP","type":"242"}'
FINE = '{"status":"Success","account_tags":["Trial user","Customer"]}'

ENVIRONMENTS = {
    "auto": {},
    "always": {"CARTWHEEL_REQUIRE_HTTPS": "always"},
    "auto, proxied": {"CARTWHEEL_TRUSTED_PROXIES": "127.0.0.0/8, 10.0.0.0/8"},
    "always, proxied": {"CARTWHEEL_REQUIRE_HTTPS": "always", "CARTWHEEL_TRUSTED_PROXIES": "127.0.0.1"},
    "never, proxied": {"CARTWHEEL_REQUIRE_HTTPS": "never", "CARTWHEEL_TRUSTED_PROXIES": "127.0.0.1"},
}


class Servers:
    """A server for each environment, started when it is first wanted."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._running: dict[str, Server] = {}

    def __getitem__(self, name: str) -> Server:
        if name not in self._running:
            self._running[name] = Server(self._databases.migrated("sqlite"), ENVIRONMENTS[name])
        return self._running[name]

    def stop(self) -> None:
        for server in self._running.values():
            server.stop()


@pytest.fixture(scope="module")
def servers(databases: Databases) -> Iterator[Servers]:
    running = Servers(databases)
    yield running
    running.stop()


def call(server: Server, *headers: str, allow_ips: list[str] | None = None) -> str:
    api = new_api(server, app={"allow_ips": allow_ips or []})
    credentials = "&".join(f"{name}={value}" for name, value in api.credentials.items())
    with Line(server) as line:
        line.send(request(f"{credentials}&actions[0][cmd]=retrieve_account_tags".encode(), *headers))
        answer = line.answer()
    assert answer.status == 200
    return answer.text


OUTSIDE = "X-Forwarded-For: 203.0.113.9"
BY_HTTP = "X-Forwarded-Proto: http"
BY_HTTPS = "X-Forwarded-Proto: https"

HTTPS = [
    ("auto", [], FINE),
    ("auto", [OUTSIDE, BY_HTTP], FINE),  # this machine, whatever it says: nobody's proxy
    ("always", [], NOT_SECURE),
    ("always", [BY_HTTPS], NOT_SECURE),
    ("always", [OUTSIDE, BY_HTTPS, "Forwarded: proto=https", "X-Forwarded-Ssl: on", "Front-End-Https: on"], NOT_SECURE),
    ("auto, proxied", [], FINE),
    ("auto, proxied", [OUTSIDE, BY_HTTP], NOT_SECURE),
    ("auto, proxied", [OUTSIDE], NOT_SECURE),
    ("auto, proxied", [OUTSIDE, BY_HTTPS], FINE),
    ("auto, proxied", [OUTSIDE.lower(), BY_HTTPS.upper()], FINE),
    ("auto, proxied", [OUTSIDE, BY_HTTP, BY_HTTPS], NOT_SECURE),
    ("auto, proxied", ["X-Forwarded-For: 127.0.0.1", OUTSIDE, BY_HTTP], NOT_SECURE),
    ("auto, proxied", ["X-Forwarded-For: 127.0.0.1", BY_HTTP], FINE),
    ("auto, proxied", ["X-Forwarded-For: [::1]:443", BY_HTTP], FINE),
    ("auto, proxied", ["X-Forwarded-For: unknown", BY_HTTP], NOT_SECURE),
    ("auto, proxied", ["X-Forwarded-For: 127.0.0.1,", BY_HTTP], NOT_SECURE),
    ("auto, proxied", [BY_HTTP], NOT_SECURE),
    ("auto, proxied", [BY_HTTPS], FINE),
    ("always, proxied", ["X-Forwarded-For: 127.0.0.1", BY_HTTP], NOT_SECURE),
    ("always, proxied", [OUTSIDE, BY_HTTPS], FINE),
    ("never, proxied", [OUTSIDE, BY_HTTP], FINE),
]


@pytest.mark.parametrize(("name", "headers", "expected"), HTTPS)
def test_plain_http_is_refused_by_the_rule(servers: Servers, name: str, headers: list[str], expected: str) -> None:
    assert call(servers[name], *headers) == expected


@pytest.mark.parametrize("body", [b"", b"%ff", b"app_id=x", b"x" * (2 << 20)], ids=["empty", "bad", "wrong", "large"])
def test_nothing_is_looked_at_before_the_connection_is_secure(servers: Servers, body: bytes) -> None:
    with Line(servers["always"]) as line:
        line.send(request(body))
        assert line.answer().text == NOT_SECURE


ALLOW_LISTS = [
    ("auto", ["127.0.0.1"], [], FINE),
    ("auto", ["::ffff:127.0.0.0/104"], [], FINE),
    ("auto", ["203.0.113.0/24"], [], FORBIDDEN),
    ("auto", ["203.0.113.0/24"], [OUTSIDE], FORBIDDEN),  # it comes from a proxy of nobody's: that is who calls
    ("auto", ["127.0.0.1"], [OUTSIDE, BY_HTTPS], FINE),
    ("auto", ["::/0"], [], FORBIDDEN),
    ("auto, proxied", ["203.0.113.0/24"], [OUTSIDE, BY_HTTPS], FINE),
    ("auto, proxied", ["198.51.100.0/24", "203.0.113.9/32"], [OUTSIDE, BY_HTTPS], FINE),
    ("auto, proxied", ["203.0.113.8/32"], [OUTSIDE, BY_HTTPS], FORBIDDEN),
    ("auto, proxied", ["2001:db8::/32"], ["X-Forwarded-For: [2001:db8::9]:1234", BY_HTTPS], FINE),
    ("auto, proxied", ["203.0.113.0/24"], ["X-Forwarded-For: ::ffff:203.0.113.9", BY_HTTPS], FINE),
    ("auto, proxied", ["203.0.113.0/24"], [f"{OUTSIDE}, 198.51.100.7", BY_HTTPS], FORBIDDEN),
    ("auto, proxied", ["203.0.113.0/24"], [OUTSIDE, "X-Forwarded-For: 198.51.100.7", BY_HTTPS], FORBIDDEN),
    ("auto, proxied", ["203.0.113.0/24"], [f"{OUTSIDE}, 10.0.0.2", BY_HTTPS], FINE),
    ("auto, proxied", ["0.0.0.0/0", "::/0"], ["X-Forwarded-For: unknown", BY_HTTPS], FORBIDDEN),
    ("auto, proxied", ["0.0.0.0/0", "::/0"], [f"{OUTSIDE}, x", BY_HTTPS], FORBIDDEN),
    ("auto, proxied", ["127.0.0.0/8"], [BY_HTTPS], FORBIDDEN),
]


@pytest.mark.parametrize(("name", "allow_ips", "headers", "expected"), ALLOW_LISTS)
def test_an_app_may_be_called_from_its_networks_only(
    servers: Servers, name: str, allow_ips: list[str], headers: list[str], expected: str
) -> None:
    assert call(servers[name], *headers, allow_ips=allow_ips) == expected


@pytest.mark.parametrize("stored", ['["127.0.0.1", "nonsense"]', '["127.0.0.1", ""]', '["127.0.0.1/64"]'])
def test_a_stored_allow_list_that_cannot_be_read_lets_nobody_in(servers: Servers, stored: str) -> None:
    server = servers["auto"]
    api = new_api(server)
    with server.database.write() as connection:
        connection.execute(sa.update(schema.apps).filter_by(app_id=api.app_id).values(allow_ips=stored))
    assert api.call({"cmd": "retrieve_account_tags"}) == {
        "status": "Error",
        "message": "This API call was sent from an unauthorized IP",
        "type": "242",
    }


@pytest.mark.parametrize(
    ("headers", "status"), [([], 200), ([OUTSIDE, BY_HTTPS], 403), ([BY_HTTPS], 403), (["X-Forwarded-For: x"], 403)]
)
def test_metrics_are_for_this_machine_even_behind_a_proxy(servers: Servers, headers: list[str], status: int) -> None:
    with Line(servers["auto, proxied"]) as line:
        line.send(request(b"", *headers, path="/metrics", method="GET"))
        assert line.answer().status == status
