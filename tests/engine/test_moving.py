"""Who goes where when runs are moved to another version, and who stays: the rules, without a database."""

from typing import Any

import pytest
from flowworld import flow

from cartwheel.sequences.flows import Flow
from cartwheel.sequences.moving import MailKey, Move, Way, letter
from cartwheel.sequences.steps import EmailStep


def mail(subject: str, **values: Any) -> dict[str, Any]:
    return {"type": "email", "subject": subject, "html": "<p>Hello</p>", "delay": "1 day", **values}


A, B, C, NEW = mail("A"), mail("B"), mail("C"), mail("New")
LINE = flow(A, B, C)


def move(old: Flow, new: Flow, **boxes: str) -> Move:
    """From version 1 to version 2; `b3="4"` maps the box 3 to the box 4."""
    flows = {1: old, 2: new}
    letters = {
        (version, step.box): letter(step)
        for version, each in flows.items()
        for step in each.steps
        if isinstance(step, EmailStep)
    }
    return Move(2, new, {1: old}, letters, {name.removeprefix("b"): box for name, box in boxes.items()})


def got(*boxes: str) -> list[MailKey]:
    return [(1, box) for box in boxes]


def test_a_run_goes_to_the_step_with_its_box() -> None:
    assert move(LINE, flow(A, B, NEW)).way(1, "3", got("1", "2")) == Way("3")


def test_who_finds_no_such_step_stays_unless_it_is_mapped() -> None:
    shorter = flow(A, B)
    assert move(LINE, shorter).way(1, "3", got("1", "2")) == Way(None, "version 2 has no step 3")
    assert move(LINE, flow(A, B, C | {"box": "X"}), b3="X").way(1, "3", got("1", "2")) == Way("X")


def test_a_step_that_was_put_in_between_does_not_send_the_mail_before_it_again() -> None:
    longer = flow(A, NEW, B, C)
    again = "it would be sent the mail of step 3 again"
    assert move(LINE, longer).way(1, "3", got("1", "2")) == Way(None, again)
    assert move(LINE, longer, b3="4").way(1, "3", got("1", "2")) == Way("4")
    assert move(LINE, longer).way(1, "2", got("1")) == Way("2")


def test_a_mail_with_a_typo_mended_is_the_same_mail() -> None:
    mended = flow(A, mail("Be"), C)
    assert move(LINE, mended, b3="2").way(1, "3", got("1", "2")).why == "it would be sent the mail of step 2 again"
    assert move(LINE, mended).way(1, "3", got("1", "2")) == Way("3")


def test_a_box_that_was_given_to_another_mail_counts_once_it_is_mapped() -> None:
    shorter = flow(B, C)
    assert move(LINE, shorter, b3="2").way(1, "3", got("1", "2")).why == "it would be sent the mail of step 2 again"
    assert move(LINE, shorter, b3="2", b2="1").way(1, "3", got("1", "2")) == Way("2")


def test_what_was_not_sent_may_be_sent() -> None:
    assert move(LINE, flow(A, B, C), b3="2").way(1, "3", got("1")) == Way("2")


@pytest.mark.parametrize("boxes", [("1",), ("1", "2")])
def test_who_goes_in_a_circle_anyhow_is_moved(boxes: tuple[str, ...]) -> None:
    circle = flow(A, B, {"type": "go_to", "to": "1", "delay": "1 week"})
    assert (
        move(circle, flow(A, NEW, {"type": "go_to", "to": "1", "delay": "2 weeks"})).way(1, "3", got(*boxes)).box == "3"
    )


def test_a_circle_that_is_new_sends_nobody_what_they_have_had() -> None:
    circle = flow(A, B, {"type": "go_to", "to": "1", "delay": "1 week"})
    old = flow(A, B, {"type": "complete", "delay": "1 week"})
    assert move(old, circle).way(1, "3", got("1", "2")).why == "it would be sent the mail of step 1, 2 again"
    assert move(old, circle).way(1, "3", ()) == Way("3")


def test_a_goal_ahead_counts_as_a_way() -> None:
    goal = {"type": "goal", "condition": {"type": "has_tag", "tag": "Customer"}}
    new = flow({"box": "3", "type": "complete", "delay": "1 day"}, {"box": "G", **goal}, B | {"box": "2"})
    assert move(LINE, new).way(1, "3", got("1", "2")).box is None


def test_a_mail_that_is_not_active_is_not_sent_again() -> None:
    assert move(LINE, flow(A, B | {"active": False}, C), b3="2").way(1, "3", got("1", "2")) == Way("2")


def test_who_was_moved_before_is_asked_about_mails_of_every_version() -> None:
    letters = {(0, "9"): letter(EmailStep(box="9", subject="B", html="<p>Hello</p>"))}
    third = Move(2, flow(A, NEW, B, C), {1: flow(A, C, NEW)}, letters, {})
    assert third.way(1, "3", [(0, "9")]).why == "it would be sent the mail of step 3 again"
    assert third.way(1, "3", []) == Way("3")
