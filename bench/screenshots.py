"""Three pictures of the demo for the README: `make screenshots`. It needs a Chromium, or the variable CHROMIUM."""

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urljoin

from playwright.sync_api import Page, sync_playwright

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
LARGEST = 150_000
"""Bytes of one."""

WIDE = {"width": 1280, "height": 800}

SHOTS = (
    ("dashboard", "light", ["/"]),
    ("sequence", "light", ["/communication/sequences", "First month"]),
    ("lead", "dark", ["/leads?order=score", "@"]),
)
"""File, scheme, and the way: a page, and the links that are followed from it."""


def main() -> None:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("there is no Chromium: install it, or name it in the variable CHROMIUM")
    PICTURES.mkdir(parents=True, exist_ok=True)
    cartwheel = Path(sys.executable).with_name("cartwheel")
    with tempfile.TemporaryDirectory() as folder:
        command = [str(cartwheel), "demo", "--port", "0"]
        environment = {**os.environ, "TMPDIR": folder}
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, bufsize=1)
        try:
            shoot(chromium, told_door(demo))
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=60)


def told_door(demo: "subprocess.Popen[str]") -> str:
    """The link into the account, once the story is told and its leads are there."""
    door = ""
    assert demo.stdout is not None
    for line in demo.stdout:
        found = re.search(r"http://\S+/demo/\S+", line)
        door = found[0] if found else door
        if "keeps serving" in line:
            return door
    sys.exit("the demo ended before its story did")


def shoot(chromium: str, door: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(device_scale_factor=1.5, locale="en-GB").new_page()
        page.set_viewport_size({"width": WIDE["width"], "height": WIDE["height"]})
        page.goto(door)
        page.get_by_role("button").click()
        page.wait_for_load_state()
        for name, scheme, (path, *links) in SHOTS:
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.goto(urljoin(door, path), wait_until="networkidle")
            for link in links:
                page.locator("main").get_by_role("link", name=link).first.click()
                page.wait_for_load_state("networkidle")
            keep(page, PICTURES / f"{name}.webp")
        browser.close()


def keep(page: Page, path: Path) -> None:
    """As good as it can be while it is small."""
    devtools = page.context.new_cdp_session(page)
    for quality in (90, 80, 70, 60, 50):
        taken = devtools.send("Page.captureScreenshot", {"format": "webp", "quality": quality})
        path.write_bytes(base64.b64decode(taken["data"]))
        if path.stat().st_size <= LARGEST:
            return
    sys.exit(f"{path.name} is too large: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
