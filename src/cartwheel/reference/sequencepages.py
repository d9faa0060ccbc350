"""The pages of the reference about sequences and automations: steps, conditions, triggers, actions, merge fields."""

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from inspect import getdoc

import msgspec
from msgspec import inspect as types

from cartwheel.leads.leadparts import PROFILE_FIELDS
from cartwheel.mail.merge import MERGE_NAMES
from cartwheel.reference.tables import block, code, keys, struct_in, struct_of, table
from cartwheel.sequences.actions import ACTION_TYPES
from cartwheel.sequences.automations import MOST_DEEP, MOST_RUNS, MOST_SKIPS
from cartwheel.sequences.conditions import CONDITION_TYPES
from cartwheel.sequences.steps import STEP_TYPES, Step
from cartwheel.sequences.triggers import TRIGGER_TYPES

_STEPS = """
What a sequence is made of: each step of an account file has one of these types. The examples are steps of one account
file, which the tests apply. Mails and their subjects may hold [merge fields](merge-fields.md).

Steps are known by their `box`, and follow each other as they are written. A **sub-sequence** is a row of boxes such as `A1`,
`A2`: the letter is for people only. Whatever names a box leads into one: `go_to`, `next`, the ways of a split, the time-out
of a wait, or a call that starts somebody there. Who comes to the last step written before `A1` runs into it, too, unless
that step has `ends` or `next`, or never goes on, like `complete` and `go_to`. At the end of a sub-sequence nothing leads back by itself: its
last step goes on to whatever is written next, and completes the sequence where nothing is; give it `next`, or a `go_to`
behind it, to lead elsewhere.
"""

_AUTOMATIONS = f"""
When something happens to a lead, and a [condition](steps.md#conditions) holds, something is done: each
`[[automations]]` of an [account file](account-file.md#automations) is one of these. [How to make them](../how-to/automate.md).

Automations run at the end of the piece of work whose event starts them, such as a call, and are stored with it: both, or
neither. Those that one event starts run in the order in which they were made; then come those that their own events start.
Conditions are asked of the lead as it is at that moment. Who was deleted starts none.

What follows from one event runs each automation once at the most; a row of automations that start each other ends after
{MOST_DEEP}, and a piece of work after {MOST_RUNS} runs for one lead. What is broken off is told by an event,
[`automation_refused`](events.md#automation_refused), and so is what a condition kept from running,
[`automation_skipped`](events.md#automation_skipped), {MOST_SKIPS} times in a piece of work at the most.
"""

_MERGE_FIELDS = """
`{first_name}` in a mail stands for what is known of the lead who gets it.

- `{first_name|there}` reads `there` where nothing is known. A fallback is one line without braces; in HTML its `&` is `&amp;`.
- `{{first_name}}` is `{first_name}`, to be read so. Braces around anything but a name, like those of CSS, stay as they are.
- A name that stands for nothing stays as it is in the mail, braces and all; `cartwheel apply` and `cartwheel simulate` say so.
- Names are written exactly as below, with small letters and capitals.

They may stand in `subject`, `preview`, `html`, `mjml`, `markdown` and `text` of an [`email` step](steps.md#email), also within
links and other attributes; not in `sender`, `reply_to` or the names of attachments. What they stand for is made harmless in
each place: a lead's name is never read as HTML, nor as a merge field.

A mail that does not show `{account_address}`, or has no link that begins with `{unsubscribe_link}` or `{preferences_link}`,
gets what it lacks at its end, in its HTML and in its text. What stands in comments or is hidden is not shown.
"""


def _example(kind: object) -> Iterator[str]:
    """The first step of a type in the file of examples, as it is written there."""
    text = files("cartwheel").joinpath("steps.toml").read_text()
    parts = re.split(r"\n(?=\[)", text)
    yield from block(next(part for part in parts if f'\ntype = "{kind}"\n' in part).strip(), "toml")


def steps() -> Iterator[str]:
    yield "# Steps and conditions"
    yield ""
    yield from _STEPS.strip().splitlines()
    yield ""
    common = {field.encode_name for field in struct_of(Step).fields}
    yield "## Every step"
    yield ""
    yield from keys(struct_of(Step).fields)
    yield from _inner(struct_of(Step).fields)
    for step in STEP_TYPES:
        yield from _member(step, hidden=common)
        yield from _example(struct_of(step).tag)
    yield "# Conditions"
    yield ""
    for condition in CONDITION_TYPES:
        yield from _member(condition, hidden=set())


def automations() -> Iterator[str]:
    yield "# Automations"
    yield ""
    yield from _AUTOMATIONS.strip().splitlines()
    yield ""
    yield "# What starts them"
    yield ""
    yield "The value of `when`. The names are those that Kartra has for these events, where it has one."
    yield ""
    for trigger in TRIGGER_TYPES:
        yield from _member(trigger, hidden=set())
    yield "# What they do"
    yield ""
    yield "The values of `then`."
    yield ""
    for action in ACTION_TYPES:
        yield from _member(action, hidden=set())


def _member(cls: type[msgspec.Struct], hidden: set[str]) -> Iterator[str]:
    """A type of step or condition, with the keys that only it has."""
    struct = struct_of(cls)
    yield f"## `{struct.tag}`"
    yield ""
    yield from (getdoc(cls) or "").splitlines()
    yield ""
    fields = [field for field in struct.fields if field.encode_name not in hidden]
    if fields:
        yield from keys(fields)
        yield from _inner(fields)


def _inner(fields: Sequence[types.Field]) -> Iterator[str]:
    """The tables that stand in some of the fields, conditions left out."""
    for field in fields:
        struct = struct_in(field.type)
        if struct is not None and struct.tag is None:
            yield f"`{field.encode_name}`: {(getdoc(struct.cls) or '').strip()}"
            yield ""
            yield from keys(struct.fields)


def merge_fields() -> Iterator[str]:
    yield "# Merge fields"
    yield ""
    yield from _MERGE_FIELDS.strip().splitlines()
    yield ""
    yield "## What every account knows"
    yield ""
    yield from table(
        ["field", "for example", "what it is"], ((code(f"{{{n.name}}}"), _shown(n.sample), n.help) for n in MERGE_NAMES)
    )
    yield "## The other fields of a lead"
    yield ""
    known = {entry.name for entry in MERGE_NAMES}
    yield ", ".join(code(f"{{{name}}}") for name in PROFILE_FIELDS if name not in known)
    yield ""
    yield "## Custom fields"
    yield ""
    yield "Each custom field of the account stands under its `identifier`: `{shoe_size}`. Of a field with options the names of"
    yield "those chosen are read, with commas between them."


def _shown(sample: str) -> str:
    return ", ".join(sample.splitlines())
