"""A real Chromium, and what it finds wrong with a page.

It is the one that the variable CHROMIUM names, or the machine's, or else one from the npm registry, so that nobody has to
be root.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

import npm

SOURCE = Path(__file__).parent / "browser"
INSTALLED = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextmanager
def chromium(config: pytest.Config) -> Iterator[Browser]:
    """While it is open, this thread has an event loop that runs: `asyncio.run` has to wait."""
    there: str | None = INSTALLED
    environment: dict[str, str | float | bool] = {**os.environ}
    if there is None:
        packages = npm.packages(SOURCE, config)
        unpacked = npm.once(packages / "unpacked", lambda folder: _unpack(packages, folder))
        there = str(unpacked / "chromium")
        environment["LD_LIBRARY_PATH"] = str(unpacked / "al2023" / "lib")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=there, env=environment, args=ARGUMENTS)
        yield browser
        browser.close()


def _unpack(packages: Path, folder: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: it unpacks the browser")
    script = shutil.copy(SOURCE / "unpack.mjs", packages)
    environment = {**os.environ, "TMPDIR": str(folder)}
    subprocess.run([node, script], env=environment, check=True, capture_output=True, timeout=120)


class Watched:
    """A page of the browser, and what it complained of."""

    def __init__(self, page: Page, config: pytest.Config) -> None:
        self.page = page
        page.set_default_timeout(10_000)
        self.complaints: list[str] = []
        self._axe = _axe(npm.packages(SOURCE, config))
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", self._miss)

    def _miss(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page was left meanwhile
            self.complaints.append(f"{request.url}: {request.failure}")

    def _hear(self, message: ConsoleMessage) -> None:
        told_already = message.location["url"] == self.page.url and message.text.startswith("Failed to load resource")
        if message.type in {"error", "warning"} and not told_already:  # the page's own status, which tests may want
            self.complaints.append(message.text)

    def faults(self) -> list[str]:
        """What is wrong with the page as it is now."""
        page = self.page
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        page.evaluate(self._axe)
        found: dict[str, Any] = page.evaluate(
            "tags => axe.run({runOnly: tags, resultTypes: ['violations']})", STANDARDS
        )
        against = [
            f"{rule['id']}: {node['html']} {node['failureSummary']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]
        return [*self.complaints, *against, *([f"{wide} pixels too wide"] if wide else [])]


@cache
def _axe(packages: Path) -> str:
    return (packages / "node_modules" / "axe-core" / "axe.min.js").read_text()
