"""Three pictures of the demo for the README: `make screenshots`. It needs a Chromium, or the variable CHROMIUM."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"

WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 800}

SHOTS = (
    ("lists.png", "/communication/lists", WIDE, "light"),
    ("fields-dark.png", "/communication/custom-fields", WIDE, "dark"),
    ("tags-phone.png", "/communication/tags", PHONE, "light"),
)
"""File, page, size and scheme of each."""


def main() -> None:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("there is no Chromium: install it, or name it in the variable CHROMIUM")
    PICTURES.mkdir(parents=True, exist_ok=True)
    cartwheel = Path(sys.executable).with_name("cartwheel")
    with tempfile.TemporaryDirectory() as folder:
        command = [str(cartwheel), "demo", "--port", "0"]
        demo = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": folder}, bufsize=1
        )
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
        page = browser.new_context(device_scale_factor=2, locale="en-GB").new_page()
        page.goto(door)
        for name, path, size, scheme in SHOTS:
            page.set_viewport_size({"width": size["width"], "height": size["height"]})
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.goto(door.partition("/demo/")[0] + path, wait_until="networkidle")
            page.screenshot(path=PICTURES / name)
        browser.close()


if __name__ == "__main__":
    main()
