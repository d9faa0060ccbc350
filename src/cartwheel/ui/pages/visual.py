"""A mail's body in the visual editor: what the form of the step has, with MJML to be drawn; saved like any step."""

from collections.abc import Mapping
from typing import Any

from cartwheel.accounts import LONGEST_BODY
from cartwheel.mail import composing, designs
from cartwheel.mail.mailhtml import Kind
from cartwheel.mail.merge import MERGE_NAMES, BadContent
from cartwheel.people import Right
from cartwheel.ui import sequencing, stepforms
from cartwheel.ui.registry import page
from cartwheel.ui.sequencing import HERE, path_of
from cartwheel.ui.visits import Answer, Visit

LARGEST_STEP = 16 << 20

_DRAWN_ANEW = {"csrf", "body", "kind", "view", "as_lead", "stay", "attach"}
"""What the page says itself, or what concerns the form's page only."""


@page(
    f"{HERE}/{{number:int}}/edit/visual",
    menu="sequences",
    right=Right.SEQUENCES_WRITE,
    post=True,
    largest=LARGEST_STEP,
    quiet=True,
    loose_look=True,
)
def edit_visually(visit: Visit) -> Answer:
    """Showed a mail in the visual editor."""
    found = sequencing.edited(visit)
    kind = visit.text("kind", 10)
    body = visit.text("body", LONGEST_BODY + 1).replace("\r\n", "\n")
    was = Kind(kind) if kind in stepforms.BODIES else Kind.MARKDOWN
    told, become = "", Kind.MJML
    try:
        drawn = designs.as_mjml(was, body or visit._("Hello {first_name|there},"))
    except BadContent:
        drawn, become = body, was
        told = visit._("This is a whole HTML document with styles of its own: it can only be edited as source.")
    old = visit.text("old", 30)
    there = found.draft.by_box.get(old)
    return visit.show(
        "step_visual.html",
        sequence=found.sequence,
        box=visit.text("box", 30),
        told=told,
        kind=become,
        old=old if there else "",
        body=drawn,
        converted=was is not Kind.MJML and bool(body),
        fields=[
            (name, value)
            for name, value in visit.form.multi_items()
            if name not in _DRAWN_ANEW and isinstance(value, str)
        ],
        action=path_of(found.sequence, "edit", *(("step", old) if there else ("add",))),
        back=path_of(found.sequence, "edit", "form"),
        texts=_texts(visit),
    )


def _texts(visit: Visit) -> Mapping[str, Any]:
    """What the editor says, and the merge fields that it offers."""
    known = [(entry.name, entry.help) for entry in MERGE_NAMES]
    others = sorted(composing.known_names(visit.account) - {name for name, _ in known})
    blocks = {
        "mj-1-column": visit._("One column"),
        "mj-2-columns": visit._("Two columns"),
        "mj-3-columns": visit._("Three columns"),
        "mj-text": visit._("Text"),
        "mj-button": visit._("Button"),
        "mj-image": visit._("Picture"),
        "mj-divider": visit._("Line"),
        "mj-spacer": visit._("Space"),
    }
    return {
        "blocks": blocks,
        "merge": [*known, *((name, "") for name in others)],
        "insert": visit._("Insert a merge field"),
        "raw": visit._("Raw HTML: it is kept as it is, and drawn in the preview only."),
        "canvas": visit._("The mail as it is being drawn"),
    }
