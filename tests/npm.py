"""Packages of the npm registry, as a lock file names them, for the tests that need some."""

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest


def packages(source: Path, config: pytest.Config) -> Path:
    """A folder with what this folder's lock file names, installed once for each state of it; skips without a registry."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    state = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()[:16]

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("npm ci did not end in time: is there a package registry?")
        code = re.search(r"code (E\w+)", done.stderr)
        assert code is None or code[1] not in {"EUSAGE", "EINTEGRITY"}, done.stderr  # the lock file is wrong
        if done.returncode:
            pytest.skip(f"npm ci failed ({code[1] if code else done.stderr[:200]}): is there a package registry?")

    assert config.cache is not None
    return once(config.cache.mkdir("npm") / f"{source.name}-{state}", install)


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, filled by `make` if it is not there: whole or not at all, though several processes may want it."""
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            make(made)
            with suppress(OSError):  # another process was quicker
                made.rename(folder)
    return folder
