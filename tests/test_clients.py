"""Real clients send real calls, in the ways in which integrations with Kartra are written."""

import functools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

import npm
from cartwheel.api.bodies import Limits, read_form
from harness import Api

CLIENTS = Path(__file__).parent / "clients"
FIRST_NAME = "Zoë O'Neil & co + 50% = done"
LONGEST_CALL_S = 60


def _environment() -> dict[str, str]:
    """Ours, but for proxies: the clients call this machine."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def _run(command: list[str], extra: Mapping[str, str] = {}, timeout_s: float = LONGEST_CALL_S) -> str:
    environment = {**_environment(), **extra}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
    return done.stdout


def _need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


@functools.cache
def _says_yes(program: str, *arguments: str) -> bool:
    return (
        subprocess.run([program, *arguments], capture_output=True, timeout=LONGEST_CALL_S, check=False).returncode == 0
    )


# -- each kind of client: its command, or a skipped test --


def _php(script: str, style: str) -> list[str]:
    php = _need("php")
    if not _says_yes(php, "-r", "exit(extension_loaded('curl') ? 0 : 1);"):
        pytest.skip("PHP is installed without its curl extension (Debian: php-curl)")
    return [php, str(CLIENTS / script), style]


def _node(script: Path, style: str) -> list[str]:
    node = _need("node")
    if not _says_yes(node, "-e", "process.exit(typeof fetch === 'function' ? 0 : 1)"):
        pytest.skip("node is older than 18")
    return [node, str(script), style]


@pytest.fixture(scope="session")
def axios(request: pytest.FixtureRequest) -> Path:
    """The script beside its packages, which are installed once for each state of the lock file."""
    source = CLIENTS / "axios"
    folder = npm.packages(source, request.config)
    return Path(shutil.copy(source / "client.js", folder))


@pytest.fixture(scope="session")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from nothing, Go's own library takes most of a minute; it is kept for the next time."""
    go = _need("go")
    kept = Path(tempfile.gettempdir()) / f"cartwheel-go-{os.getuid()}"
    settings = {"GOFLAGS": "-mod=mod", "GOCACHE": str(kept), "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    program = tmp_path_factory.mktemp("go") / "client"
    _run([go, "build", "-o", str(program), str(CLIENTS / "go" / "main.go")], settings, timeout_s=300)
    return program


def _curl(style: str) -> list[str]:
    _need("curl")
    return ["sh", str(CLIENTS / "curl.sh"), style]


def _command(client: str, style: str, request: pytest.FixtureRequest) -> list[str]:
    match client:
        case "docs.php" | "wordpress.php":
            return _php(client, style)
        case "axios":
            return _node(request.getfixturevalue("axios"), style)
        case "fetch.mjs":
            return _node(CLIENTS / client, style)
        case "go":
            return [str(request.getfixturevalue("go_program"))]
        case "curl.sh":
            return _curl(style)
        case _:
            return [sys.executable, str(CLIENTS / client), style]


STYLES = {
    "docs.php": ["plain"],
    "wordpress.php": ["query", "both", "list"],
    "axios": ["qs", "params", "multipart", "json"],
    "fetch.mjs": ["form", "multipart", "json"],
    "python_requests.py": ["form", "json"],
    "go": ["values"],
    "curl.sh": ["data", "urlencode", "multipart"],
}


@pytest.mark.parametrize(
    ("client", "style"), [(client, style) for client, styles in STYLES.items() for style in styles]
)
def test_a_client_does_what_it_does_with_kartra(
    api: Api, client: str, style: str, request: pytest.FixtureRequest
) -> None:
    email = "zoe@shop.example"
    settings = {name.upper(): value for name, value in api.credentials.items()}
    settings |= {"API_URL": f"{api.server.url}/api", "EMAIL": email, "FIRST_NAME": FIRST_NAME}
    printed = json.loads(_run(_command(client, style, request), settings))
    lead = api.lead(email)
    assert printed == {
        "account_tags": ["Trial user", "Customer"],
        "id": lead["id"],
        "created": ["Lead created", "Tag added to lead", "Lead subscribed to list"],
        "tagged": ["Tag added to lead", "Tag added to lead"],
        "first_name": FIRST_NAME,
        "tags": ["Trial user", "Customer"],
        "unknown": True,
    }
    assert lead["lists"] == [{"list_name": "Newsletter", "active": "1"}]


PARSE = "while (($l = fgets(STDIN)) !== false) { parse_str(rtrim($l), $a); echo json_encode($a, JSON_FORCE_OBJECT), PHP_EOL; }"
TOKENS = [
    "[",
    "]",
    "[]",
    "[]",
    "[ ]",
    "[0]",
    "[1]",
    "[07]",
    "[5]",
    "[x]",
    "[x]",
    "[99999999999999999999]",
    "%5B",
    "%5D",
]
VALUES = ["", "=", "=1", "=2", "==", "=1=2", "=[x]", "=]", "=+a+", "=%20%2B", "=%C3%AB", "=%"]


def _some_form(chance: random.Random) -> str:
    names = (
        chance.choice(["a", "b", "lead"]) + "".join(chance.choices(TOKENS, k=chance.randint(0, 4))) for _ in range(4)
    )
    return "&".join(name + chance.choice(VALUES) for name in names)


def test_a_form_is_read_as_php_reads_it() -> None:
    """But for names with an open bracket, which PHP gives another letter: nobody sends them on purpose."""
    chance = random.Random(2026)
    forms = [_some_form(chance) for _ in range(2000)]
    command = [_need("php"), "-r", PARSE]
    done = subprocess.run(command, input="\n".join(forms), capture_output=True, text=True, timeout=60, check=True)
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    ours = [read_form(form.encode(), Limits(1 << 20, 64, 1000)) for form in forms]
    compared = [(form, a, b) for form, a, b in zip(forms, ours, theirs, strict=True) if "_" not in str(b)]
    assert len(compared) > len(forms) // 2
    assert [different for different in compared if different[1] != different[2]] == []
