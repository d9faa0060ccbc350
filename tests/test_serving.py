"""The server's processes: how they start, renew their certificate, stop, and what they say when they cannot start."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cartwheel import times
from cartwheel.accountfiles import accountfile
from cartwheel.data.db import Database
from cartwheel.errors import BadSetting
from cartwheel.serving import Certificate
from conftest import Databases
from harness import API_KEY, API_PASSWORD, APP_ID, DEMO
from running import DEADLINE_S, Cartwheel

CREDENTIALS = {"app_id": APP_ID, "api_key": API_KEY, "api_password": API_PASSWORD}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def database(engine: str, databases: Databases) -> str:
    return with_account(databases.migrated(engine))


def with_account(url: str) -> str:
    """The demo account, with credentials that the tests know, and without a rate limit."""
    text = DEMO.replace("[account]", f'[account]\napi_key = "{API_KEY}"\napi_password = "{API_PASSWORD}"')
    text = text.replace("[[apps]]", f'[[apps]]\napp_id = "{APP_ID}"')
    database = Database(url)
    database.migrate()
    accountfile.apply(database, accountfile.read_text(text, Path()), times.now())
    database.close()
    return url


def creation(email: str) -> bytes:
    return json.dumps({**CREDENTIALS, "lead": {"email": email}, "actions": [{"cmd": "create_lead"}]}).encode()


def create(client: httpx.Client, email: str) -> str:
    return str(client.post("/api", content=creation(email)).json()["message"])


# -- one process --


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_stops_cleanly(database: str, number: int) -> None:
    with Cartwheel("serve", "--port", 0, database=database, port=1) as server:
        with httpx.Client(base_url=server.wait_for_url()) as client:
            assert client.get("/health").json() == {"status": "ok"}
            assert create(client, "ada@shop.example") == "Lead created"
            assert "server" not in client.get("/health").headers
        assert server.stop(number) == 0
        assert "Traceback" not in server.end()[1]


def test_calls_in_flight_are_answered_when_it_stops(database: str) -> None:
    with Cartwheel("serve", database=database, port=0) as server:
        address = httpx.URL(server.wait_for_url())
        body = creation("ada@shop.example")
        head = f"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection((address.host, address.port or 0), timeout=DEADLINE_S) as call:
            call.sendall(head + body[:20])
            assert httpx.get(f"{address}/health").status_code == 200  # by now the call's beginning has been read
            server.process.terminate()
            until(lambda: not connects(address))
            call.sendall(body[20:])
            answer = call.makefile("rb").read()
        assert b'"message":"Lead created"' in answer
        assert server.process.wait(DEADLINE_S) == 0
    with (
        Cartwheel("serve", database=database, port=0) as server,
        httpx.Client(base_url=server.wait_for_url()) as client,
    ):
        assert create(client, "ada@shop.example") == "Lead already exists"


def connects(address: httpx.URL) -> bool:
    try:
        socket.create_connection((address.host, address.port or 0), timeout=DEADLINE_S).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_variable_that_is_no_setting_is_told(tmp_path: Path) -> None:
    with Cartwheel("serve", database=f"sqlite:///{tmp_path / 'x.db'}", port=0, prot=8080) as server:
        line = json.loads(server.wait_for("CARTWHEEL_PROT"))
        assert (line["level"], line["message"]) == ("warning", "CARTWHEEL_PROT is no setting: see `cartwheel config`")
        server.wait_for_url()
        assert server.stop() == 0


def test_a_database_that_is_away_is_told_in_one_line() -> None:
    with Cartwheel("serve", database="postgresql://u:p@127.0.0.1:1/x", port=0) as server:
        code, said = server.end()
    assert code == 1
    [line] = said.splitlines()
    assert line.startswith("cartwheel: the database cannot be used: connection failed")


# -- several processes --


@pytest.fixture
def shared(databases: Databases) -> str:
    return with_account(databases.migrated("postgresql"))


def test_several_processes_add_up_and_replace_one_that_dies(shared: str, tmp_path: Path) -> None:
    with Cartwheel("serve", "--processes", 2, temp=tmp_path, database=shared, port=0) as server:
        url = server.wait_for_url()
        assert [entry.name[:18] for entry in tmp_path.iterdir()] == ["cartwheel-metrics-"]
        first = workers(server)
        assert len(first) == 2

        used: set[str] = set()
        count = 0
        while len(used) < 2:  # which process takes a connection is the kernel's choice
            answer = httpx.post(f"{url}/api", content=creation(f"lead{count}@shop.example"))
            assert answer.json()["message"] == "Lead created"
            used.add(answer.headers["x-request-id"].partition("-")[0])
            count += 1
        until(lambda: created(url) == count)

        os.kill(first[0], signal.SIGKILL)
        server.wait_for(f"process {first[0]} died and was replaced")
        until(lambda: len(set(workers(server)) - set(first)) == 1)
        assert httpx.get(f"{url}/health").status_code == 200
        until(lambda: created(url) == count)
        assert server.stop() == 0
        assert "Traceback" not in server.end()[1]
    assert list(tmp_path.iterdir()) == []


def test_no_process_is_left_when_the_first_one_is_killed(shared: str, tmp_path: Path) -> None:
    with Cartwheel("serve", "--processes", 2, temp=tmp_path, database=shared, port=0) as server:
        address = httpx.URL(server.wait_for_url())
        server.process.kill()
        until(lambda: not connects(address))


def workers(server: Cartwheel) -> list[int]:
    """The ids of the server's processes, without multiprocessing's own helper."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def created(url: str) -> int:
    metrics = httpx.get(f"{url}/metrics").text
    counts = re.findall(r'^cartwheel_calls_total\{command="create_lead",type=""\} (\S+)', metrics, re.MULTILINE)
    return int(sum(map(float, counts)))


# -- the certificate --


class Authority:
    """A pair of PEM files that is replaced, as those who renew certificates do it."""

    def __init__(self, folder: Path) -> None:
        self.cert = folder / "cert.pem"
        self.key = folder / "key.pem"

    def renew(self, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        certificate = builder.sign(key, hashes.SHA256())
        self.put(self.key, key_bytes(key, serialization.NoEncryption()))
        self.put(self.cert, certificate.public_bytes(serialization.Encoding.PEM))

    @staticmethod
    def put(path: Path, content: bytes) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(path)


def key_bytes(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    made.renew("first")
    return made


def shown_name(url: str) -> str:
    """The name in the certificate that a new connection is shown."""
    where = httpx.URL(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection((where.host, where.port or 0), timeout=DEADLINE_S)
    with context.wrap_socket(plain) as connection:
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    [name] = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path, authority: Authority) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with_account(url)
    with Cartwheel("serve", database=url, port=0, tls_cert=authority.cert, tls_key=authority.key) as server:
        where = server.wait_for_url()
        assert where.startswith("https://")
        assert shown_name(where) == "first"
        with httpx.Client(base_url=where, verify=False) as client:
            assert create(client, "ada@shop.example") == "Lead created"
            authority.renew("second")
            server.wait_for("the certificate was renewed")
            assert shown_name(where) == "second"
            assert create(client, "ada@shop.example") == "Lead already exists"  # on the old connection

        authority.put(authority.cert, b"-----BEGIN CERTIFICATE-----\nbroken")
        line = json.loads(server.wait_for("the old one stays"))
        assert line["level"] == "error"
        assert f"CARTWHEEL_TLS_CERT: {authority.cert} is no" in line["message"]
        assert shown_name(where) == "second"
        authority.cert.unlink()
        server.wait_for("the old one stays")
        assert shown_name(where) == "second"
        authority.renew("third")
        until(lambda: shown_name(where) == "third")
        assert server.stop() == 0


def test_an_encrypted_key_is_told_and_no_password_is_asked_for(tmp_path: Path, authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    authority.put(authority.key, key_bytes(key, serialization.BestAvailableEncryption(b"secret")))
    settings: dict[str, Any] = {"tls_cert": authority.cert, "tls_key": authority.key}
    with Cartwheel("serve", database=f"sqlite:///{tmp_path / 'x.db'}", port=0, **settings) as server:
        code, said = server.end()
    assert code == 2
    assert said == f"cartwheel: CARTWHEEL_TLS_KEY: {authority.key} is no PEM key, or is encrypted\n"


def test_what_is_wrong_with_a_certificate_is_told_by_its_setting(tmp_path: Path, authority: Authority) -> None:
    cert, key = authority.cert, authority.key
    good_key = key.read_bytes()
    authority.renew("other")

    def told() -> str:
        with pytest.raises(BadSetting) as caught:
            Certificate(cert, key).check()
        return str(caught.value)

    Certificate(cert, key).check()
    authority.put(key, good_key)
    assert told() == f"CARTWHEEL_TLS_KEY: {key} does not go with the certificate (key values mismatch)"
    authority.put(key, b"-----BEGIN PRIVATE KEY-----\nbroken")
    assert told() == f"CARTWHEEL_TLS_KEY: {key} is no PEM key, or is encrypted"
    for bad in (b"", b"nonsense", good_key, cert.read_bytes()[:100]):
        authority.put(cert, bad)
        assert told() == f"CARTWHEEL_TLS_CERT: {cert} is no certificate chain in PEM form"
    cert.unlink()
    assert told() == f"CARTWHEEL_TLS_CERT: {cert} cannot be read (No such file or directory)"
    authority.renew("good")
    key.unlink()
    key.symlink_to(tmp_path)
    assert told() == f"CARTWHEEL_TLS_KEY: {key} cannot be read (Is a directory)"


# -- the demo --


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Cartwheel]:
    with Cartwheel("demo", "--port", 0, temp=tmp_path, port="no number", database="nowhere") as running:
        yield running


def test_the_demo_tells_its_story_and_leaves_nothing_behind(demo: Cartwheel, tmp_path: Path) -> None:
    url = demo.wait_for("runs on").split()[4]
    demo.wait_for("keeps serving")
    story = "".join(demo.said)
    for part in (
        '{"create_lead": {"status": "Success", "message": "Lead created"',
        "Tag does not exist",
        "Subject: Welcome, Ada",
        f"Unsubscribe: {url}/u/",
        "Completed the sequence First month after step 7",
        "ada@shop.example   score 10",
        "Was sent the mail of step 1 of First month",
        "Got the tag Trial user",
        "by App Website",
        f"+ $url = '{url}/api';",
    ):
        assert part in story
    assert "\x1b" not in story
    for page in re.findall(r"docs/\S+\.md", story):
        assert Path(__file__).parent.parent.joinpath(page).exists()

    pasted = re.findall(r"^ +curl (?:.*\\\n)*.*$", story, re.MULTILINE)[-1]
    said = subprocess.run(["sh", "-c", f"{pasted} --silent"], capture_output=True, text=True, check=True).stdout
    assert json.loads(said)["message"] == "Tag added to lead"

    door = re.search(rf"{url}/demo/\S+", story)
    assert door is not None
    with httpx.Client(follow_redirects=True) as visitor:
        for _ in range(2):
            token = re.search(r'name="csrf" value="([^"]+)"', visitor.get(door[0]).text)
        assert token is not None
        assert "Olivia Owner" in visitor.post(door[0], data={"csrf": token[1]}).text
        dashboard = visitor.get(f"{url}/").text
        assert "1 mail is in doubt" in dashboard
        assert "1 lead is stuck in the sequence" in dashboard
        assert "Seed to Harvest" in visitor.get(f"{url}/communication/sequences").text
    assert httpx.get(door[0]).status_code == 200, "whoever has signed out comes in again"
    assert story.count(door[0]) == 2
    assert [entry.name[:15] for entry in tmp_path.iterdir()] == ["cartwheel-demo-"]
    assert demo.stop(signal.SIGINT) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_demo_can_be_left_before_its_end(demo: Cartwheel) -> None:
    demo.wait_for("runs on")
    assert demo.stop(signal.SIGINT) == 0
    assert "Traceback" not in demo.end()[1]
