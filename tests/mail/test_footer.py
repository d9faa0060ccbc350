"""Every mail shows the sender's postal address, a way out and the preferences: what it lacks of them comes in at its end."""

import pytest
from selectolax.lexbor import LexborHTMLParser

from cartwheel.mail.mailhtml import Kind
from cartwheel.mail.mime import Attachment
from cartwheel.mail.render import Content, compile_mail

VALUES_OF_ADA = {
    "account_address": "1 Example Road\nLondon",
    "unsubscribe_link": "https://mail.example/u/1",
    "preferences_link": "https://mail.example/p/1",
}


def hrefs(page: str) -> list[str]:
    return [node.attributes["href"] or "" for node in LexborHTMLParser(page).css("a")]


def test_a_mail_without_a_way_out_gets_one_and_the_address_of_the_sender() -> None:
    filled = compile_mail(Content(subject="x", kind=Kind.HTML, source="<p>a</p>")).fill(VALUES_OF_ADA)
    assert hrefs(filled.html) == ["https://mail.example/u/1", "https://mail.example/p/1"]
    assert "1 Example Road<br>\nLondon" in filled.html
    assert filled.text.startswith("a\n\n---")
    for line in ("1 Example Road\nLondon\n", "https://mail.example/u/1\n", "https://mail.example/p/1\n"):
        assert line in filled.text


@pytest.mark.parametrize("bar", ["", "|x"])
def test_what_a_mail_shows_itself_it_is_not_given_again(bar: str) -> None:
    links = f'<a href="{{unsubscribe_link{bar}}}">Leave</a> <a href=" {{preferences_link{bar}}}"><img src="cid:x"></a>'
    attachments = (Attachment("x.png", "image/png", b"x", inline_id="x"),)
    source = f"<p>a</p><p>{{account_address{bar}}}</p>{links}"
    content = Content(subject="x", kind=Kind.HTML, source=source, attachments=attachments)
    filled = compile_mail(content).fill(VALUES_OF_ADA)
    assert hrefs(filled.html) == ["https://mail.example/u/1", "https://mail.example/p/1"]
    assert filled.html.count("1 Example Road") == filled.text.count("1 Example Road") == 1
    assert "---" not in filled.text


UNSUBSCRIBE, PREFERENCES, ADDRESS = "https://mail.example/u/1", "https://mail.example/p/1", "1 Example Road"
ITS_OWN = {
    "a link": ('<a href="{unsubscribe_link}">Leave</a>', UNSUBSCRIBE),
    "the preferences": ('<a href="{preferences_link}">Choose</a>', PREFERENCES),
    "the address": ("<p>{account_address}</p>", ADDRESS),
}


@pytest.mark.parametrize(("source", "own"), ITS_OWN.values(), ids=ITS_OWN)
def test_what_a_mail_lacks_it_is_given_piece_by_piece(source: str, own: str) -> None:
    for content in (
        Content(subject="x", kind=Kind.HTML, source=f"<p>a</p>{source}"),
        Content(subject="x", kind=Kind.MJML, source=MJML_AROUND.format(source)),
        Content(subject="x", kind=Kind.HTML, source=f"<p>a</p>{source}", text="Hello"),
        Content(subject="x", kind=Kind.HTML, source="<p>a</p>", text=f"Hello {source}"),
    ):
        filled = compile_mail(content).fill(VALUES_OF_ADA)
        assert sorted(hrefs(filled.html)) == [PREFERENCES, UNSUBSCRIBE]
        assert filled.html.count(ADDRESS) == 1
        assert [filled.text.count(piece) for piece in (UNSUBSCRIBE, PREFERENCES, ADDRESS)] == [1, 1, 1]
        assert filled.text.index("---") < min(filled.text.index(p) for p in {UNSUBSCRIBE, PREFERENCES, ADDRESS} - {own})


MJML_AROUND = "<mjml><mj-body><mj-section><mj-column><mj-text>{}</mj-text></mj-column></mj-section></mj-body></mjml>"

UNSEEN = [
    "<!-- {} -->",
    "<!--[if mso]>{}<![endif]-->",
    '<div style="color:red; display: none">{}</div>',
    '<div style="visibility:hidden"><p>{}</p></div>',
    "<style>.away {{ display: none }}</style><div class='away'>{}</div>",
    "<div hidden>{}</div>",
    "<template>{}</template>",
]


@pytest.mark.parametrize("around", UNSEEN)
def test_what_nobody_sees_is_not_there(around: str) -> None:
    everything = "".join(source for source, _ in ITS_OWN.values())
    source = f"<p>a</p>{around.format(everything)}"
    filled = compile_mail(Content(subject="x", kind=Kind.HTML, source=source)).fill(VALUES_OF_ADA)
    footer = filled.html[-700:]
    assert all(piece in footer for piece in (f'"{UNSUBSCRIBE}"', f'"{PREFERENCES}"', f"<div>{ADDRESS}"))
    assert [filled.text.count(piece) for piece in (UNSUBSCRIBE, PREFERENCES, ADDRESS)] == [1, 1, 1]


@pytest.mark.parametrize(
    "source",
    [
        '<a href="{unsubscribe_link}"> </a>',
        '<a href="{unsubscribe_link}"><span style="display:none">Leave</span></a>',
        '<a href="https://d.example/?u={unsubscribe_link}">Leave</a>',
        "<p>{unsubscribe_link}</p>",
        '<p title="{unsubscribe_link}">a</p>',
    ],
)
def test_a_link_that_shows_nothing_or_leads_elsewhere_is_no_way_out(source: str) -> None:
    filled = compile_mail(Content(subject="x", kind=Kind.HTML, source=f"<p>a</p>{source}")).fill(VALUES_OF_ADA)
    assert f'<a href="{UNSUBSCRIBE}" style="color:#6e7781">Unsubscribe</a>' in filled.html


def test_each_part_has_its_way_out() -> None:
    own = "".join(source for source, _ in ITS_OWN.values())
    filled = compile_mail(Content(subject="x", kind=Kind.HTML, source=own, text="Hello")).fill(VALUES_OF_ADA)
    assert len(hrefs(filled.html)) == 2
    assert filled.text.endswith(f"\nUnsubscribe: {UNSUBSCRIBE}\nPreferences: {PREFERENCES}\n")
