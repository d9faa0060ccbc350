"""Files that are attached to a mail on its step's page: checked by what is in them, not by what they are called only."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from starlette.datastructures import UploadFile

from cartwheel.sequences.stepparts import Attachment
from cartwheel.sequences.steps import AnyStep, EmailStep
from cartwheel.ui.visits import Visit

MOST_FILES = 10
MOST_BYTES = 5_000_000
"""Of all files of a mail. Many mail servers take 10 MB, and on the way files become a third longer."""

_LONGEST_NAME = 255

_ZIPPED = (b"PK\x03\x04",)
_TEXT = ()
_BEGIN: dict[str, Sequence[bytes]] = {
    "pdf": (b"%PDF-",),
    "png": (b"\x89PNG\r\n\x1a\n",),
    "jpg": (b"\xff\xd8\xff",),
    "jpeg": (b"\xff\xd8\xff",),
    "gif": (b"GIF87a", b"GIF89a"),
    "webp": (b"RIFF",),
    "docx": _ZIPPED,
    "xlsx": _ZIPPED,
    "pptx": _ZIPPED,
    "odt": _ZIPPED,
    "ods": _ZIPPED,
    "odp": _ZIPPED,
    "epub": _ZIPPED,
    "zip": _ZIPPED,
    "txt": _TEXT,
    "csv": _TEXT,
    "ics": _TEXT,
    "vcf": _TEXT,
}
"""The kinds that mail servers let through, by the ends of their names, and how each begins; a text is in UTF-8."""


class Listed(NamedTuple):
    """An attachment as the form shows it."""

    number: int
    name: str
    bytes: int
    inline: str
    detached: bool


def listed(visit: Visit, step: AnyStep | None) -> list[Listed]:
    """Those that the step has."""
    files = step.attachments if isinstance(step, EmailStep) else []
    gone = set(visit.texts("detach"))
    return [
        Listed(number, file.name, len(file.data), file.inline, str(number) in gone) for number, file in enumerate(files)
    ]


def put(visit: Visit, tree: dict[str, Any], kept: AnyStep | None) -> str:
    """Put into a mail's tree those that it keeps and those that were sent; returns what is wrong with these."""
    gone = set(visit.texts("detach"))
    files = [
        file
        for number, file in enumerate(kept.attachments if isinstance(kept, EmailStep) else [])
        if str(number) not in gone
    ]
    for sent in visit.form.getlist("attach"):
        if isinstance(sent, UploadFile) and sent.filename:
            file = Attachment(sent.filename.replace("\\", "/").rpartition("/")[2], sent.file.read(MOST_BYTES + 1))
            if told := _complaint(visit, file):
                return told
            files.append(file)
    tree["attachments"] = msgspec.to_builtins(files)
    if len(files) > MOST_FILES:
        return visit._("At most %d files, please.") % MOST_FILES
    if sum(len(file.data) for file in files) > MOST_BYTES:
        return visit._("All files of a mail may have %d MB together.") % (MOST_BYTES // 1_000_000)
    return ""


def _complaint(visit: Visit, file: Attachment) -> str:
    if not file.name or len(file.name) > _LONGEST_NAME or not file.name.isprintable():
        return visit._("A file's name has at most %d characters.") % _LONGEST_NAME
    end = file.name.rpartition(".")[2].lower()
    if end not in _BEGIN:
        known = ", ".join(sorted(_BEGIN))
        return visit._("%(name)s: mail servers turn such files away. These are let through: %(known)s.") % {
            "name": file.name,
            "known": known,
        }
    begins = _BEGIN[end]
    if not (file.data.startswith(tuple(begins)) if begins else _is_text(file.data)):
        return visit._("%(name)s is no %(kind)s file, whatever its name says.") % {"name": file.name, "kind": end}
    return ""


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False
