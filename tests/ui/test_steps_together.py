"""Steps that several people write, and what is told of them to whom."""

import re

from cast import Cast, Person
from drafting import mail, make, sent_of

from cartwheel.people import Role
from cartwheel.ui import forgery


def test_what_was_written_on_a_removed_step_is_not_lost(boss: Person, cast: Cast) -> None:
    at = make(boss)
    mail(boss, at)
    mail(boss, at)
    written = {**sent_of(boss.get(f"{at}/edit/step/1").text), "subject": "Written meanwhile"}
    other = cast.person(Role.MARKETER)
    assert other.post(f"{at}/edit/step/1/remove").status_code == 303
    answer = boss.post(f"{at}/edit/step/1", **written)
    assert answer.status_code == 422
    assert "was removed since you opened it" in answer.text
    assert 'value="Written meanwhile"' in answer.text
    again = sent_of(answer.text)
    assert boss.post(f"{at}/edit/add", **again).status_code == 303
    assert "Written meanwhile" in boss.get(f"{at}/edit").text
    for act in ("remove", "move"):
        gone = boss.post(f"{at}/edit/step/77/{act}")
        assert "is not there any more" in boss.get(gone.headers["location"]).text


def test_only_who_looks_after_the_servers_is_told_their_names(boss: Person, cast: Cast) -> None:
    at = make(boss)
    mail(boss, at)
    for person in (boss, cast.person(Role.MARKETER)):
        cast.api.server.clock.forward(seconds=1)
        told = person.http.post(
            f"{at}/test/1", data={"csrf": forgery.token(person.cookie)}, headers={"HX-Request": "true"}
        ).text
        assert "test mailbox" in told


def test_what_becomes_of_the_mails_is_chosen_for_a_simulation(boss: Person) -> None:
    at = make(boss)
    mail(boss, at)
    mail(boss, at, **{"delay.amount": "2", "delay.unit": "days"})
    assert re.search(r'<select[^>]*name="mail.1"', boss.get(f"{at}/simulate").text)
    story = boss.get(f"{at}/simulate?length=9d&mail.1=clicked").text
    assert "story-what-if" in story
    assert '<option value="clicked" selected>' in story
    assert "story-what-if" not in boss.get(f"{at}/simulate?length=9d&mail.1=").text
