"""Sequences as people make them on the pages: what tests of several pages begin with."""

import re
from typing import Any

from cast import Person
from selectolax.lexbor import LexborHTMLParser

HERE = "/communication/sequences"


def make(boss: Person, name: str = "Onboarding", template: str = "empty") -> str:
    """A new sequence; its page's path."""
    answer = boss.post(HERE, name=name, public_name="", template=template, entry="1", again="on", most="0", days="30")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].removesuffix("/edit")


def add(boss: Person, at: str, step: str, /, **fields: Any) -> Any:
    """A step at the end of the draft, with the label that the form proposes unless one is given."""
    page = boss.get(f"{at}/edit/add?type={step}").text
    proposed = re.search(r'name="box" value="(\w+)"', page)
    after = re.search(r'name="after" value="(\w+)"', page)
    assert proposed
    assert after
    sent = {"type": step, "after": after[1], "box": proposed[1], "active": "on", **fields}
    return boss.post(f"{at}/edit/add", **sent)


def mail(boss: Person, at: str, **fields: Any) -> Any:
    return add(
        boss, at, "email", **({"subject": "Hello {first_name}", "kind": "markdown", "body": "Good day."} | fields)
    )


def sent_of(page: str) -> dict[str, Any]:
    """What a browser sends of the page's form."""
    form = LexborHTMLParser(page).css_first("form#step")
    assert form is not None
    sent: dict[str, Any] = {}
    for node in form.css("input, select, textarea"):
        name, value = node.attributes.get("name"), node.attributes.get("value")
        if not name or name == "csrf":
            continue
        if node.tag == "select":
            chosen = node.css_first("option[selected]") or node.css_first("option")
            assert chosen is not None
            sent[name] = chosen.attributes.get("value") or ""
        elif node.tag == "textarea":
            sent[name] = node.text()
        elif node.attributes.get("type") == "checkbox":
            if "checked" in node.attributes:
                sent.setdefault(name, []).append(value)
        else:
            sent[name] = value or ""
    return sent
