"""Nobody gets Cartwheel to call what they could not call themselves."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hookshop import Teller, deliveries, endpoint
from receiver import Receiver

from cartwheel.hooks import targets
from cartwheel.hooks.outbound import wrong_url
from cartwheel.hooks.targets import Forbidden, refusal
from harness import Api

ADA = "ada@shop.example"

FORBIDDEN = (
    "127.0.0.1", "127.255.0.1", "::1", "0.0.0.0", "0.1.2.3", "::", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1",
    "100.100.100.200", "169.254.169.254", "169.254.1.1", "fe80::1", "fd00:ec2::254", "fc00::1", "fec0::1", "192.0.0.192",
    "168.63.129.16", "198.18.0.1", "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1",
    "2002:7f00:1::", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
)  # fmt: skip
PERMITTED = ("93.184.216.34", "8.8.8.8", "172.32.0.1", "2606:2800:220:1:248:1893:25c8:1946", "2a00:1450:4001::1")


@pytest.mark.parametrize("address", FORBIDDEN)
def test_it_is_not_called(address: str) -> None:
    assert refusal(ip_address(address))


@pytest.mark.parametrize("address", PERMITTED)
def test_it_may_be_called(address: str) -> None:
    assert not refusal(ip_address(address))


TRICKS = (
    "127.0.0.1", "localhost", "localhost.", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
)  # fmt: skip


def test_a_target_on_this_machine_is_never_reached(api: Api) -> None:
    """However it is written, and wherever it redirects."""
    with Receiver() as receiver, Teller(api, allow_private=False) as teller:
        for host in TRICKS:
            assert not wrong_url(f"http://{host}:{receiver.port}/")
            endpoint(api, f"http://{host}:{receiver.port}/", {"assign_tag": None})
        api.create(ADA)
        api.on(ADA, "assign_tag", tag_name="Customer")
        teller.settle()
        assert receiver.got == []
    rows = deliveries(api)
    assert len(rows) == len(TRICKS)
    for row in rows:
        assert (row["state"], row["status"], row["answer"]) == ("queued", None, "")
        assert "is not called" in row["trouble"] or "cannot be" in row["trouble"], row["trouble"]
    assert any("CARTWHEEL_ALLOW_PRIVATE_TARGETS" in row["trouble"] for row in rows)


class Dns:
    """Answers differ from one question to the next."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, _host: str, _port: int) -> list[str]:
        self.asked += 1
        return list(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])


async def call(url: str, *, allow_private: bool = False, dns: Dns | None = None) -> int:
    session = targets.session(allow_private=allow_private, resolve=dns or targets.resolve)
    async with session, asyncio.timeout(1), session.post(url, data=b"{}") as response:
        return response.status


def test_a_name_that_changes_is_asked_once_for_a_connection() -> None:
    """What was looked at is what is connected to: the second answer would reach this machine."""
    with Receiver() as receiver:
        url = f"http://rebinding.example:{receiver.port}/"
        dns = Dns(["10.0.0.1"], ["127.0.0.1"])
        with pytest.raises(Forbidden):
            asyncio.run(call(url, dns=dns))
        assert dns.asked == 1
        with pytest.raises(Forbidden):
            asyncio.run(call(url, dns=dns))
        changing = Dns(["127.0.0.1"], ["192.0.2.1"])
        assert asyncio.run(call(url, allow_private=True, dns=changing)) == 200
        assert changing.asked == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_an_address_that_nobody_has_to_look_up_is_looked_at_all_the_same(host: str) -> None:
    dns = Dns(["93.184.216.34"])
    with Receiver() as receiver, pytest.raises(Forbidden):
        asyncio.run(call(f"http://{host}:{receiver.port}/", dns=dns))
    assert (dns.asked, receiver.got) == (0, [])


def test_of_several_addresses_only_those_are_tried_that_may_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    async def note(_loop: object, _socket: object, address: tuple[str, int]) -> None:
        tried.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", note)
    dns = Dns(["127.0.0.1", "93.184.216.34", "fe80::1%1", "8.8.8.8"])
    with pytest.raises(aiohttp.ClientConnectorError):
        asyncio.run(call("http://several.example/", dns=dns))
    assert [*dict.fromkeys(tried)] == ["93.184.216.34", "8.8.8.8"]


@pytest.mark.parametrize(
    "url",
    [
        "", "hook.example", "ftp://hook.example/", "file:///etc/passwd", "http://", "http:///x", "http://a b/", "http://[::1",
        "http://user:pass@hook.example/", "http://hook.example:99999/", "http://hook.example:0/", "https://hook.example/#x",
        "http://hook.example/\r\nX: y", "http://käse.example/", "http://hook.example/" + "x" * 2000, "gopher://hook.example",
    ],
)  # fmt: skip
def test_it_is_no_target(url: str) -> None:
    assert wrong_url(url)


# -- TLS --


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for this name, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / f"{name}.pem"
    file.write_bytes(private + made.public_bytes(pem))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


def serve_tls(context: ssl.SSLContext) -> int:
    """Answers one request with 200; returns its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        try:
            with listening, context.wrap_socket(listening.accept()[0], server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except OSError:
            pass

    threading.Thread(target=run, daemon=True).start()
    return int(listening.getsockname()[1])


@pytest.mark.parametrize(("name", "arrives"), [("hook.example", True), ("other.example", False)])
def test_the_certificate_has_to_be_for_the_name(tmp_path: Path, name: str, *, arrives: bool) -> None:
    """Though the connection goes to an address."""
    server, trust = certified(tmp_path, name)
    port = serve_tls(server)

    async def run() -> int:
        dns = Dns(["127.0.0.1"])
        session = targets.session(allow_private=True, trust=trust, resolve=dns)
        async with session, session.post(f"https://hook.example:{port}/", data=b"{}") as response:
            return response.status

    if arrives:
        assert asyncio.run(run()) == 200
    else:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            asyncio.run(run())
