"""Sequences in account files: read with the files that their steps name, checked against the account, published."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from cartwheel.accountfiles.fileparts import SequencePart, laid_over
from cartwheel.accounts import LONGEST_BODY, Account
from cartwheel.accounts import Sequence as KnownSequence
from cartwheel.data import catalog, flowstore, schema
from cartwheel.data.db import Database
from cartwheel.errors import BadAccountFile
from cartwheel.mail.composing import Unsendable, content_of, doubts, read_sender
from cartwheel.mail.merge import BadContent
from cartwheel.mail.render import compile_mail
from cartwheel.phrases import phrase
from cartwheel.sequences.conditions import CONDITION_TYPES
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.stepparts import Attachment
from cartwheel.sequences.steps import STEP_TYPES, AnyStep, EmailStep
from cartwheel.times import micros_or_none, to_micros

_BODY_OF_SUFFIX = {".html": "html", ".htm": "html", ".mjml": "mjml", ".md": "markdown", ".markdown": "markdown"}
_BODIES = ("html", "mjml", "markdown")

MOST_ATTACHED = 10_000_000
"""Bytes of all files that come with one mail."""


# -- reading --


def with_files(step: AnyStep, folder: Path, place: str) -> AnyStep:
    """The step with the files that it names read in."""
    if not isinstance(step, EmailStep):
        return step
    given = [name for name in (*_BODIES, "file") if getattr(step, name) is not None]
    if len(given) != 1:
        raise BadAccountFile(f"{place}: give one of html, mjml, markdown and file")
    attachments = [_with_data(file, folder, place) for file in step.attachments]
    if sum(len(file.data) for file in attachments) > MOST_ATTACHED:
        raise BadAccountFile(f"{place}: the attachments have more than {MOST_ATTACHED:,} bytes")
    step = msgspec.structs.replace(step, attachments=attachments)
    if step.file is None:
        return step
    body = _BODY_OF_SUFFIX.get(Path(step.file).suffix.lower(), "")
    if not body:
        raise BadAccountFile(f"{place}: {step.file} is none of {', '.join(_BODY_OF_SUFFIX)}")
    try:
        text = _read(folder, step.file, place).decode()
    except UnicodeDecodeError as error:
        raise BadAccountFile(f"{place}: {step.file} cannot be read: {error}") from error
    if len(text) > LONGEST_BODY:
        raise BadAccountFile(f"{place}: {step.file} is longer than {LONGEST_BODY:,} characters")
    return msgspec.structs.replace(step, file=None, **{body: text})


def _with_data(attachment: Attachment, folder: Path, place: str) -> Attachment:
    if bool(attachment.data) is bool(attachment.file):
        raise BadAccountFile(f"{place}: attachment {attachment.name}: give data or file")
    if not attachment.file:
        return attachment
    return msgspec.structs.replace(attachment, file="", data=_read(folder, attachment.file, place))


def _read(folder: Path, name: str, place: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise BadAccountFile(f"{place}: {name} cannot be read: {error.strerror or error}") from error


_STEP = re.compile(r"\$\.sequences\[(\d+)\](?:\.steps\[(\d+)\](\.\S+?)?`)?")


def place_in(tree: dict[str, Any], message: str) -> str:
    """What a person calls the sequence and box of a path in the library's message, and the types if that is wrong."""
    found = _STEP.search(message)
    if not found:
        return ""
    sequence = tree["sequences"][int(found[1])]
    place = f"sequence {sequence['name']}" if isinstance(sequence, dict) and "name" in sequence else ""
    if place and found[2]:
        step = sequence["steps"][int(found[2])]
        place += f", box {step['box']}" if isinstance(step, dict) and "box" in step else ""
    return (f" ({place})" if place else "") + _types(found[3] or "")


def _types(key: str) -> str:
    """Those that there are, where the type of a step or of a condition is wrong."""
    if not key.endswith(".type"):
        return ""
    members = STEP_TYPES if key == ".type" else CONDITION_TYPES
    return f"; the types are {', '.join(str(member.__struct_config__.tag) for member in members)}"


class _Sequences(msgspec.Struct):
    """What of an account file is about sequences; the rest of it is passed over."""

    sequences: list[SequencePart] = []


def read_text(text: str) -> list[SequencePart]:
    """The sequences in the text of an account file, which may name no files. Raises `BadAccountFile`."""
    try:
        tree = tomllib.loads(text)
        found = msgspec.convert(tree, _Sequences).sequences
    except tomllib.TOMLDecodeError as error:
        raise BadAccountFile(str(error)) from error
    except msgspec.ValidationError as error:
        raise BadAccountFile(f"{error}{place_in(tree, str(error))}") from error
    for part in found:
        for step in part.steps:
            place = f"sequence {part.name}, step {step.box}"
            if isinstance(step, EmailStep) and (step.file or any(file.file for file in step.attachments)):
                raise BadAccountFile(f"{place}: files cannot be named here: write what is in them")
        part.steps = [with_files(step, Path(), f"sequence {part.name}, step {step.box}") for step in part.steps]
    return found


# -- checking --


class Finding(NamedTuple):
    """What is to be said of a box; `stops` if the sequence cannot run like this."""

    box: str
    text: str
    stops: bool


def findings(steps: Sequence[AnyStep], account: Account) -> Iterator[Finding]:
    """Everything that is wrong, or only worth knowing."""
    flow = Flow(tuple(steps))
    for problem in flow.problems(account):
        yield Finding(problem.box, problem.text, stops=True)
    for box in flow.unreachable():
        yield Finding(box, phrase("nobody ever comes here"), stops=False)
    for step in flow.steps:
        if isinstance(step, EmailStep):
            yield from _findings_of_mail(step, account)


def _findings_of_mail(step: EmailStep, account: Account) -> Iterator[Finding]:
    for text in _bad_senders(step.sender, step.reply_to):
        yield Finding(step.box, text, stops=True)
    try:
        compiled = compile_mail(content_of(step))
    except BadContent as error:
        yield Finding(step.box, str(error), stops=True)
    else:
        yield from (Finding(step.box, doubt, stops=False) for doubt in doubts(compiled, account))


def check(part: SequencePart, account: Account) -> list[str]:
    """Raises `BadAccountFile` with what keeps it from running; returns what is only worth knowing."""
    warnings = []
    for box, text, stops in findings(part.steps, account):
        told = f"sequence {part.name}, box {box}: {text}"
        if stops:
            raise BadAccountFile(told)
        warnings.append(told)
    return warnings


def check_senders(sender: str, reply_to: str, place: str) -> None:
    """Raises `BadAccountFile` if a mail could not have them."""
    for text in _bad_senders(sender, reply_to):
        raise BadAccountFile(f"{place}: {text}")


def _bad_senders(sender: str, reply_to: str) -> Iterator[str]:
    for name, text in (("sender", sender), ("reply_to", reply_to)):
        try:
            if text:
                read_sender(text)
        except Unsendable:
            yield phrase("{name} = {text} is no `Name <address>`", name=name, text=repr(text))


def missing_for_mail(parts: Iterable[SequencePart], account: Account) -> list[str]:
    """What keeps the account from sending what its sequences want to send, or from doing so lawfully."""
    steps = [step for part in parts for step in part.steps if isinstance(step, EmailStep)]
    missing = []
    if not account.mail.sender and not all(step.sender for step in steps):
        missing.append(phrase("the account has no sender, without which no mail leaves: give `[account.mail] sender`"))
    if steps and not account.mail.address:
        missing.append(
            phrase("the account has no postal address, which mail has to show: give `[account.mail] address`")
        )
    return missing


# -- writing --


def row_of(part: SequencePart, known: KnownSequence | None, now: int) -> dict[str, Any]:
    """What its row says, when the sequence was like `known`."""
    entry = laid_over(known.entry, part.entry, part.said.get("entry", {})) if known else part.entry
    before = micros_or_none(known.archived_at) if known else None
    archived_at = before if part.archived is None else (before or now) if part.archived else None
    return {
        "name": part.name,
        "public_name": part.public_name,
        "entry": msgspec.json.encode(entry).decode(),
        "boxes": json.dumps([step.box for step in part.steps]),
        **pausing(was=known is not None and known.paused, wanted=is_paused(part, known), now=now),
        "archived_at": archived_at,
    }


def is_paused(part: SequencePart, known: KnownSequence | None) -> bool:
    """Whether it is, when the sequence was like `known`: what is archived does not go on before it is brought back."""
    laid_aside = known is not None and known.archived_at is not None
    paused = part.paused if "paused" in part.said or known is None else known.paused
    return paused or (laid_aside if part.archived is None else part.archived)


def pausing(*, was: bool, wanted: bool, now: int) -> dict[str, Any]:
    """The values of a row that is paused, or that goes on again: then its delays begin anew."""
    return {"paused": wanted} | ({"resumed_at": now} if was and not wanted else {})


def pause(database: Database, account_id: int, sequence_id: int, now: datetime, *, paused: bool) -> bool:
    """Have everybody in the sequence wait where they are, or go on; whether that is a change."""
    with database.write() as connection:
        catalog.lock(connection)
        changed = set_paused(connection, account_id, sequence_id, now, paused=paused)
        if changed:
            catalog.touch(connection, account_id)
    return changed


def set_paused(connection: sa.Connection, account_id: int, sequence_id: int, now: datetime, *, paused: bool) -> bool:
    """`pause` in a transaction that changes the account already."""
    table = schema.sequences
    here = (table.c.account_id == account_id) & (table.c.id == sequence_id)
    was = bool(connection.execute(sa.select(table.c.paused).where(here)).scalar_one())
    if was is paused:
        return False
    values = pausing(was=was, wanted=paused, now=to_micros(now))
    if not paused:
        values["archived_at"] = None
    connection.execute(sa.update(table).where(here).values(**values))
    return True


def archive(connection: sa.Connection, account_id: int, sequence_id: int, now: datetime) -> None:
    """Lay it aside; everybody in it waits where they are."""
    table = schema.sequences
    here = (table.c.account_id == account_id) & (table.c.id == sequence_id)
    values = {"paused": True, "archived_at": to_micros(now)}
    connection.execute(sa.update(table).where(here, table.c.archived_at.is_(None)).values(**values))


def bring_back(connection: sa.Connection, account_id: int, sequence_id: int, now: datetime, *, running: bool) -> None:
    """Take it out of the archive, paused or `running`."""
    table = schema.sequences
    here = (table.c.account_id == account_id) & (table.c.id == sequence_id)
    values = {"archived_at": None} | (pausing(was=True, wanted=False, now=to_micros(now)) if running else {})
    connection.execute(sa.update(table).where(here, table.c.archived_at.is_not(None)).values(**values))


def release(connection: sa.Connection, account_id: int, sequence_id: int, part: SequencePart, now: int) -> int | None:
    """`publish`, and let calls know the boxes of the steps."""
    table = schema.sequences
    here = (table.c.account_id == account_id) & (table.c.id == sequence_id)
    connection.execute(sa.update(table).where(here).values(boxes=json.dumps([step.box for step in part.steps])))
    return publish(connection, account_id, sequence_id, part, now)


def publish(connection: sa.Connection, account_id: int, sequence_id: int, part: SequencePart, now: int) -> int | None:
    """Make the steps the newest version, unless they are; returns its number, or None if they were."""
    table = schema.sequences
    here = (table.c.account_id == account_id) & (table.c.id == sequence_id)
    version, hears = connection.execute(sa.select(table.c.version, table.c.hears).where(here)).one()
    flow = Flow(tuple(part.steps))
    if version and ("steps" not in part.said or flowstore.read(connection, (account_id, sequence_id, version)) == flow):
        return None
    version = flowstore.publish(connection, account_id, sequence_id, flow, now)
    heard = sorted(flow.hears.union(json.loads(hears)))  # whoever keeps to an older version has to be woken, too
    connection.execute(sa.update(table).where(here).values(version=version, hears=json.dumps(heard)))
    return version


# -- exporting --


def parts(connection: sa.Connection, account: Account) -> Iterator[SequencePart]:
    """The account's sequences as a file has them."""
    for sequence in account.sequences.values():
        flow = flowstore.read(connection, (account.id, sequence.id, sequence.version))
        steps: Sequence[AnyStep] = flow.steps if flow else []
        archived = True if sequence.archived_at else None
        yield SequencePart(
            sequence.name, sequence.public_name, sequence.paused, sequence.entry, list(steps), archived=archived
        )
