"""Files attached to a mail on its step's page."""

from typing import Any

import pytest
from cast import Person
from drafting import mail, make, sent_of

from cartwheel.data import draftstore
from cartwheel.sequences.steps import EmailStep
from cartwheel.ui import attaching, forgery
from harness import Api

PDF = b"%PDF-1.4\n..."


def save(boss: Person, page: str, *files: tuple[str, bytes], **fields: Any) -> Any:
    """As a browser sends the form of a mail, with these files."""
    sent = {**sent_of(boss.get(page).text), **fields, "csrf": forgery.token(boss.cookie)}
    sent.pop("attach")
    return boss.http.post(page, data=sent, files=[("attach", file) for file in files] or [("attach", ("", b""))])


def attached(api: Api, at: str) -> dict[str, bytes]:
    with api.server.database.read() as connection:
        draft = draftstore.read(connection, api.account_id, int(at.rsplit("/", 1)[1]))
    assert draft is not None
    [step] = draft.steps
    assert isinstance(step, EmailStep)
    return {file.name: file.data for file in step.attachments}


def test_files_are_attached_kept_and_removed(boss: Person, api: Api) -> None:
    at = make(boss)
    mail(boss, at)
    page = f"{at}/edit/step/1"
    assert save(boss, page, ("C:\\papers\\price list.pdf", PDF), ("dates.csv", b"a,b\n")).status_code == 303
    assert attached(api, at) == {"price list.pdf": PDF, "dates.csv": b"a,b\n"}
    assert "Remove price list.pdf" in boss.get(page).text
    assert save(boss, page, subject="Changed").status_code == 303
    assert len(attached(api, at)) == 2
    assert save(boss, page, detach=["0"]).status_code == 303
    assert attached(api, at) == {"dates.csv": b"a,b\n"}


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("virus.exe", b"MZ", "turn such files away"),
        ("page.html", b"<script>", "turn such files away"),
        ("picture.png", b"MZ", "is no png file"),
        ("list.csv", b"\xff\x00", "is no csv file"),
        ("large.pdf", PDF + bytes(attaching.MOST_BYTES), "5 MB together"),
    ],
)
def test_what_no_mail_should_bring_is_not_attached(boss: Person, api: Api, name: str, data: bytes, told: str) -> None:
    at = make(boss)
    mail(boss, at)
    answer = save(boss, f"{at}/edit/step/1", (name, data))
    assert answer.status_code == 422
    assert told in answer.text
    assert attached(api, at) == {}


def test_a_new_mail_may_have_files(boss: Person, api: Api) -> None:
    at = make(boss)
    new = f"{at}/edit/add?type=email"
    sent = {**sent_of(boss.get(new).text), "csrf": forgery.token(boss.cookie), "subject": "Hi", "body": "Hello"}
    sent.pop("attach")
    answer = boss.http.post(f"{at}/edit/add", data=sent, files=[("attach", ("a.pdf", PDF))])
    assert answer.status_code == 303
    assert attached(api, at) == {"a.pdf": PDF}
