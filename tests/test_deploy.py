"""The examples in `deploy/` fit the repository that they are in."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_image_is_made_of_files_that_are_there_and_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy" / "Dockerfile").read_text(), flags=re.MULTILINE)
    names = {name for sources in copied for name in sources.split()}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert names == allowed
    assert not [name for name in names if not (ROOT / name).exists()]


def test_the_secrets_of_the_example_are_never_committed() -> None:
    named = re.findall(r"^    file: (\S+)$", (ROOT / "deploy" / "compose.yaml").read_text(), flags=re.MULTILINE)
    assert len(named) == 2
    assert {f"deploy/{name}" for name in named} <= {*(ROOT / ".gitignore").read_text().splitlines()}
