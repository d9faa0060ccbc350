"""A mail as a whole: what it is made of, and that the quick way of building it says what the standard library would say.

`python tests/mail/test_render.py` writes the golden mails anew; look at what changed before you keep it.
"""

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nasty import NASTY, VALUES
from selectolax.lexbor import LexborHTMLParser

from cartwheel.mail.mailhtml import Kind
from cartwheel.mail.merge import MERGE_NAMES, BadContent
from cartwheel.mail.mime import Attachment, address
from cartwheel.mail.render import CompiledMail, Content, compile_mail

quick = settings(max_examples=100, derandomize=True, deadline=None, database=None)

GOLDEN = Path(__file__).parent / "golden"
PIXEL_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)

HTML = """<html><head><style>
p { color: #333333 } a:hover { color: red } @media (max-width: 480px) { p { font-size: 18px } }
</style></head><body>
<h1>Hello {first_name|there}</h1>
<p>Your score is <b>{score}</b>. Braces like {{first_name}} and { these } stay.</p>
<ul><li><a href="https://shop.example/sale?mail={email_address}&amp;from=letter">The sale</a></li>
<li><a href="{website}">Your site</a></li><li><a href="mailto:help@shop.example?subject={first_name}">Help</a></li></ul>
<p>{company|No company}, {city}</p>
</body></html>"""

MJML = """<mjml>
  <mj-head><mj-attributes><mj-all font-family="Helvetica, Arial, sans-serif" /></mj-attributes></mj-head>
  <mj-body background-color="#f4f4f4"><mj-section background-color="#ffffff"><mj-column>
    <mj-text font-size="20px">Hello {first_name|there}</mj-text>
    <mj-button href="https://shop.example/?mail={email_address}">Open the shop</mj-button>
    <mj-text><a href="{unsubscribe_link}">Unsubscribe</a></mj-text>
  </mj-column></mj-section></mj-body>
</mjml>"""

MARKDOWN = """# Hello {first_name|there}

We **missed** you, {first_name|friend}:

1. see [the sale](https://shop.example/sale?mail={email_address}),
2. or [write to us](mailto:help@shop.example).

> Best shop of {city}.
"""

CONTENTS = {
    "plain": Content(
        subject="Welcome", kind=Kind.HTML, source="<p>Hello {first_name}</p>", text="Hello {first_name},\n\nwelcome.\n"
    ),
    "html": Content(
        subject="{first_name|Friend}, schöne Grüße", kind=Kind.HTML, source=HTML, preview="For {first_name} & co"
    ),
    "mjml": Content(subject="For {first_name}", kind=Kind.MJML, source=MJML, preview="A short letter"),
    "markdown": Content(subject="For {first_name}", kind=Kind.MARKDOWN, source=MARKDOWN),
    "files": Content(
        subject="Files",
        kind=Kind.HTML,
        source='<p>Hello {first_name}</p><img src="cid:logo" alt="Acme">',
        attachments=(
            Attachment("logo.png", "image/png", PIXEL_PNG, "logo"),
            Attachment("Preisliste für Österreich.pdf", "application/pdf", b"%PDF-1.7\n" * 20),
        ),
    ),
}

VALUES_OF_ADA = {row.name: row.sample for row in MERGE_NAMES} | {"first_name": "Zoë", "company": ""}

HEADERS = [
    ("From", address("Acme", "hello@acme.example")),
    ("To", address("Zoë Lovelace", "ada@shop.example")),
    ("Date", "Tue, 10 Dec 2024 10:00:00 +0000"),
    ("Message-ID", "<1.2@acme.example>"),
    ("List-Unsubscribe", "<https://mail.example/u/1>"),
]

COMPILED = {name: compile_mail(content) for name, content in CONTENTS.items()}


def tracked(number: int, target: str) -> str:
    return f"https://mail.example/c/{number}?to={len(target)}&x=1"


def golden(name: str) -> bytes:
    return COMPILED[name].build(VALUES_OF_ADA, HEADERS, tracked, "https://mail.example/o/1").as_bytes()


def read(mail: bytes) -> EmailMessage:
    return message_from_bytes(mail, _class=EmailMessage, policy=policy.default)


def page_of(source: str, **values: str) -> str:
    return compile_mail(Content(subject="x", kind=Kind.HTML, source=source)).fill(values).html


# -- the bytes --


@pytest.mark.parametrize("name", CONTENTS)
def test_a_mail_is_the_same_bytes_as_ever(name: str) -> None:
    assert golden(name) == (GOLDEN / f"{name}.eml").read_bytes()


def by_the_library(mail: CompiledMail, content: Content, values: dict[str, str], pixel: str) -> EmailMessage:
    """The same mail as the standard library builds it, from the filled parts."""
    filled = mail.fill(values, tracked, pixel)
    message = EmailMessage(policy=policy.SMTP)
    for header, value in HEADERS:
        message[header] = value
    message.set_content(filled.text)
    message.add_alternative(filled.html, subtype="html")
    for file in content.attachments:
        main, _, sub = file.media_type.partition("/")
        if file.inline_id:
            page = list(message.iter_parts())[1]
            assert isinstance(page, EmailMessage)
            page.add_related(file.data, main, sub, cid=f"<{file.inline_id}>", filename=file.name, disposition="inline")
    for file in content.attachments:
        main, _, sub = file.media_type.partition("/")
        if not file.inline_id:
            message.add_attachment(file.data, main, sub, filename=file.name)
    return read(message.as_bytes())


def meaning(message: EmailMessage) -> object:
    """What a mail program makes of a mail: headers, structure, and what is in the parts.

    But for the subject, which the library damages when it is long or looks encoded.
    """
    headers = {name: str(value) for name, value in message.items() if name not in {"Content-Type", "Subject"}}
    parts = [
        (
            part.get_content_type(),
            part.get_content_disposition(),
            part.get_filename(),
            part["Content-ID"],
            None if part.is_multipart() else (part.get_payload(decode=True), part.get_content_charset()),
            len(list(part.iter_parts())) if part.is_multipart() else 0,
        )
        for part in message.walk()
        if isinstance(part, EmailMessage)
    ]
    return headers, [_with_plain_line_ends(part) for part in parts]


def _with_plain_line_ends(part: tuple[object, ...]) -> tuple[object, ...]:
    content_type, *others, content, count = part
    if content_type in {"text/plain", "text/html"} and isinstance(content, tuple):
        content = (content[0].replace(b"\r\n", b"\n"), content[1])
    return (content_type, *others, content, count)


def check_against_the_library(name: str, values: dict[str, str]) -> None:
    mail, content = COMPILED[name], CONTENTS[name]
    pixel = "https://mail.example/o/1?a=1&b=2"
    built = mail.build(values, HEADERS, tracked, pixel)
    message = read(built.as_bytes())
    assert meaning(message) == meaning(by_the_library(mail, content, values, pixel))
    assert message["Subject"] == mail.fill(values).subject
    lines = built.as_bytes().split(b"\r\n")
    assert max(map(len, lines)) <= 78 if content.attachments else max(map(len, lines)) <= 76
    assert not any(line.startswith(b".") for line in lines)
    assert b"\n" not in b"".join(lines)
    assert b"\r" not in b"".join(lines)
    assert b"\0" not in built.body
    assert built.body.endswith(b"--\r\n")


@quick
@given(st.sampled_from(sorted(CONTENTS)), st.fixed_dictionaries(dict.fromkeys(sorted(VALUES_OF_ADA), VALUES)))
def test_the_quick_way_says_what_the_standard_library_says(name: str, values: dict[str, str]) -> None:
    check_against_the_library(name, values)


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("name", ["html", "files"])
def test_no_trick_makes_another_mail_of_it(name: str, value: str) -> None:
    check_against_the_library(name, dict.fromkeys(VALUES_OF_ADA, value))


def test_the_same_content_gives_the_same_bytes_and_another_gives_others() -> None:
    (first, again, other) = (
        compile_mail(Content(subject="x", kind=Kind.HTML, source=source)).build({}, []).as_bytes()
        for source in ("a", "a", "b")
    )
    assert first == again
    boundaries = [re.findall(rb'boundary="(.*)"', mail) for mail in (first, other)]
    assert boundaries[0] != boundaries[1]
    assert [first.count(boundary) for boundary in boundaries[0]] == [4]


def test_a_field_inside_a_value_is_not_filled() -> None:
    values = VALUES_OF_ADA | {"first_name": "{last_name} {{city}}"}
    filled = COMPILED["html"].fill(values)
    assert filled.subject == "{last_name} {{city}}, schöne Grüße"
    assert "Hello {last_name} {{city}}" in filled.html
    assert "Hello {last_name} {{city}}" in filled.text


def test_an_unknown_name_is_reported_and_goes_out_as_typed() -> None:
    mail = compile_mail(
        Content(subject="{a}", kind=Kind.HTML, source="<p title='{b|<i>}'>{c}</p>", preview="{d}", text="{e}")
    )
    known = [row.name for row in MERGE_NAMES]
    assert mail.unknown(known) == ["a", "b", "c", "d", "e"]
    filled = mail.fill({})
    assert filled.subject == "{a}"
    assert '<p title="{b|&lt;i&gt;}">{c}</p>' in filled.html
    assert filled.text.startswith("{e}\n")


# -- links and the pixel --

LINKS = """<a href="https://a.example/?x={first_name}&amp;y=1">1</a> <a href="mailto:a@b.example">2</a> <a href="#top">3</a>
<a href="{website}">4</a> <a href="HTTP://b.example">5</a> <a href="tel:1">6</a> <a href="{unsubscribe_link}">7</a>
<a href="{preferences_link}">8</a> <a href="#">9</a> <a href="/relative">10</a>
<a href="https://a.example/?x={first_name}&amp;y=1">11</a> <link rel="stylesheet" href="https://c.example/x.css">
<a href="https://d.example/?u={unsubscribe_link}">12</a> <img src="https://e.example/x.png">
<!--[if mso]><v:roundrect href="HTTP://b.example">13</v:roundrect><![endif]-->"""

TYPED = (
    "https://a.example/?x={first_name}&y=1",
    "HTTP://b.example",
    "https://d.example/?u={unsubscribe_link}",
)


def hrefs(page: str) -> list[str]:
    return [node.attributes["href"] or "" for node in LexborHTMLParser(page).css("a")]


def test_links_are_what_can_be_clicked_on_the_web_each_once_in_order() -> None:
    assert compile_mail(Content(subject="x", kind=Kind.HTML, source=LINKS)).links == TYPED


def test_a_link_is_rewritten_with_the_address_that_this_lead_would_have_got() -> None:
    seen = []

    def rewrite(number: int, target: str) -> str:
        seen.append((number, target))
        return f'https://t.example/{number}?"&'

    page = compile_mail(Content(subject="x", kind=Kind.HTML, source=LINKS)).fill(VALUES_OF_ADA, rewrite).html
    assert dict(seen) == {
        0: "https://a.example/?x=Zo%C3%AB&y=1",
        1: "HTTP://b.example",
        2: "https://d.example/?u=https%3A%2F%2Fmail.example%2Fu%2F1",
    }
    written = {number: f'https://t.example/{number}?"&' for number in range(3)}
    assert hrefs(page) == [
        written[0], "mailto:a@b.example", "#top", "https://ada.example", written[1], "tel:1", "https://mail.example/u/1",
        "https://mail.example/p/1", "#", "/relative", written[0], written[2],
    ]  # fmt: skip
    assert '<v:roundrect href="https://t.example/1?&quot;&amp;">' in page
    assert "https://e.example/x.png" in page


def test_without_rewriting_links_lead_where_they_say() -> None:
    page = compile_mail(Content(subject="x", kind=Kind.HTML, source=LINKS)).fill(VALUES_OF_ADA).html
    assert hrefs(page)[0] == "https://a.example/?x=Zo%C3%AB&y=1"
    assert hrefs(page)[3] == "https://ada.example"


ANYWHERE = [
    "{website}", " {website}", "{website}/x", "{website|https://a.example}", "https://{website}", "https://{website}/x",
    "http://{city}.a.example/", "https://a.example{city}", "https://a.example:{city}/", "https://{city}@a.example/",
    "https://a.example@{city}/", "https:///{city}/x", "https://\t/{city}", "https:{website}", "//{city}/", "{city}://a.example/",
]  # fmt: skip


@pytest.mark.parametrize("value", [*NASTY, "https://evil.example/", ".evil.example", "evil.example"])
@pytest.mark.parametrize("link", ANYWHERE)
def test_no_value_of_a_lead_says_where_a_signed_address_leads(link: str, value: str) -> None:
    """Anybody may fill in a form, and have the mail sent to an address of theirs."""
    for source in (f'<a href="{link}">x</a>', f'<!--[if mso]><v:rect href="{link}">x</v:rect><![endif]--><p>x</p>'):
        mail = compile_mail(Content(subject="x", kind=Kind.HTML, source=source))
        assert mail.links == ()
        mail.fill({"website": value, "city": value}, lambda _number, target: pytest.fail(target))


AT_HOME = [
    "https://a.example/{city}",
    "https://a.example?{city}",
    "https://a.example:8443/#{city}",
    "HTTP://a.example/x{city}",
]


@pytest.mark.parametrize("value", [*NASTY, "/../..//evil.example", "\\evil.example"])
@pytest.mark.parametrize("link", AT_HOME)
def test_whatever_a_lead_writes_a_signed_address_leads_to_the_authors_site(link: str, value: str) -> None:
    targets: list[str] = []
    mail = compile_mail(Content(subject="x", kind=Kind.HTML, source=f'<a href="{link}">x</a>'))
    mail.fill({"city": value}, lambda _number, target: targets.append(target) or "")  # type: ignore[func-returns-value]
    assert [urlsplit(target).hostname for target in targets] == ["a.example"]


@pytest.mark.parametrize("website", ["mailto:ada@a.example", "https://ada.example", "javascript:x", ""])
def test_a_link_of_the_leads_own_is_harmless(website: str) -> None:
    mail = compile_mail(Content(subject="x", kind=Kind.HTML, source='<a href="{website}">x</a>'))
    assert hrefs(mail.fill({"website": website}).html)[0] == ("" if website == "javascript:x" else website)


def test_the_pixel_is_the_last_thing_in_the_body_and_only_if_asked_for() -> None:
    mail = COMPILED["html"]
    with_pixel, without = (mail.fill(VALUES_OF_ADA, None, pixel).html for pixel in ('https://o.example/?a=1&b="', None))
    assert re.search(r'<img src="https://o.example/\?a=1&amp;b=&quot;" [^<>]*></body></html>\n$', with_pixel)
    assert "<img" not in without


# -- what comes in by itself --


def test_the_preview_text_stands_first_and_hidden() -> None:
    page = LexborHTMLParser(COMPILED["html"].fill(VALUES_OF_ADA).html)
    first = page.css_first("body > *")
    assert first is not None
    assert (first.text() or "").startswith("For Zoë & co\u00a0\u200c")
    assert "display:none" in (first.attributes["style"] or "")
    assert "For Zoë" not in COMPILED["html"].fill(VALUES_OF_ADA).text


def test_the_text_is_the_authors_or_else_read_off_the_html() -> None:
    assert COMPILED["plain"].fill(VALUES_OF_ADA).text.startswith("Hello Zoë,\n\nwelcome.\n\n---")
    text = COMPILED["html"].fill(VALUES_OF_ADA).text
    assert text.startswith("Hello Zoë\n=")
    assert "- The sale (https://shop.example/sale?mail=ada%40shop.example&from=letter)\n" in text
    assert "Braces like {first_name} and { these } stay." in text


# -- from source to page --


def test_css_goes_into_the_elements_and_what_cannot_stays() -> None:
    page = COMPILED["html"].fill(VALUES_OF_ADA).html
    assert '<p style="color: #333333;">' in page
    assert "a:hover { color: red; }" in page
    assert "@media (max-width: 480px)" in page
    assert "p { color" not in page


def test_merge_fields_survive_every_parser() -> None:
    for name, mail in COMPILED.items():
        filled = mail.fill({}, None, None)
        assert "{first_name" in filled.html, name
        assert "merge" not in filled.html, name
        assert "merge" not in filled.text, name
    assert 'href="https://shop.example/?mail=ada%40shop.example"' in COMPILED["mjml"].fill(VALUES_OF_ADA).html
    assert 'href="https://shop.example/sale?mail=ada%40shop.example"' in COMPILED["markdown"].fill(VALUES_OF_ADA).html


def test_a_piece_of_html_becomes_a_page() -> None:
    assert page_of("<p>a</p>").startswith('<!DOCTYPE html><html><head><meta charset="utf-8">')
    assert page_of("<html><body>a").startswith("<!DOCTYPE html><html>")
    assert page_of("<!doctype html><html><body>a").count("DOCTYPE") == 1


def test_nothing_is_fetched_for_a_mail(tmp_path: Path) -> None:
    secret = tmp_path / "secret.css"
    secret.write_text("p { color: #5ec4e7 }")
    for source in (
        f'<link rel="stylesheet" href="file://{secret}"><p>a</p>',
        f'<style>@import "file://{secret}";</style><p>a</p>',
        f'<link rel="stylesheet" href="{secret}"><p>a</p>',
    ):
        assert "5ec4e7" not in page_of(source)
    with pytest.raises(BadContent, match="included"):
        compile_mail(
            Content(
                subject="x", kind=Kind.MJML, source=f'<mjml><mj-body><mj-include path="{secret}" /></mj-body></mjml>'
            )
        )
    mjml = "<mjml><mj-body><mj-section><mj-column><mj-text>a</mj-text></mj-column></mj-section></mj-body></mjml>"
    assert "googleapis" not in compile_mail(Content(subject="x", kind=Kind.MJML, source=mjml)).fill({}).html


@pytest.mark.parametrize(
    ("kind", "source", "message"),
    [
        (Kind.HTML, " \n", "The mail has no content"),
        (Kind.HTML, "x" * (1 << 20) + "x", "longer than 1 MiB"),
        (Kind.HTML, "\n<div>" * 300, r"nested deeper than 200 levels \(<div> in line 202\)"),
        (Kind.HTML, "<div></b>" * 300, "nested deeper"),
        (Kind.MJML, "<mjml><mj-body>" + "<mj-wrapper>" * 60_000, "nested deeper"),
        (Kind.MARKDOWN, ("<div>\n" * 300), "nested deeper"),
        (Kind.MJML, "<p>Hello</p>", r"The MJML cannot be read: unexpected token \(line 1\)"),
        (Kind.MJML, "<mjml>\n<mj-body>\n<mj-text>é</mj-body></mjml>", "The MJML cannot be read: "),
        (Kind.MJML, f"<mjml><!-- {'é' * 60} -->\n<mj-body>\n<mj-include path='x'/>\n\n\n</mj-body></mjml>", "line 3"),
        (
            Kind.MJML,
            "<mjml><mj-body>\n<mj-foo></mj-foo></mj-body></mjml>",
            r"no <mj-foo>, or not in this place \(line 2\)",
        ),
        (Kind.HTML, '<style>p{margin:0}</style><p>a</p><p style="{x}">b</p>', r'The style "\{x\}" of <p> is no CSS'),
        (Kind.HTML, '<img src="cid:nowhere">', 'The picture "cid:nowhere" is not among the attachments'),
        (Kind.HTML, "<p style=\"background:url('cid:a b')\">", "cid:a"),
    ],
)
def test_what_cannot_be_a_mail_is_refused_with_what_and_where(kind: Kind, source: str, message: str) -> None:
    with pytest.raises(BadContent, match=message):
        compile_mail(Content(subject="x", kind=kind, source=source))


def test_a_mail_needs_a_subject() -> None:
    with pytest.raises(BadContent, match="no subject"):
        compile_mail(Content(subject=" \n", kind=Kind.HTML, source="x"))


def test_what_an_author_writes_is_cleaned_of_what_cannot_be_sent() -> None:
    filled = compile_mail(
        Content(subject="a\0\r\nb", kind=Kind.HTML, source="<p>c\0\ud800d</p>", text="e\r\nf\x1b")
    ).fill({})
    assert (filled.subject, filled.text[:4]) == ("a b", "e\nf\n")
    assert "<p>cd</p>" in filled.html


@quick
@given(st.sampled_from(list(Kind)), VALUES, VALUES, VALUES)
def test_any_source_is_a_mail_or_refused(kind: Kind, source: str, subject: str, text: str) -> None:
    try:
        mail = compile_mail(Content(subject=subject, kind=kind, source=source, preview=text, text=text))
    except BadContent:
        return
    message = read(mail.build({}, HEADERS).as_bytes())
    assert [part.get_content_type() for part in message.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert message["Subject"] == mail.fill({}).subject


def test_headers_keep_the_callers_order_and_come_before_the_subject() -> None:
    names = [name for name, _ in COMPILED["plain"].build({}, HEADERS).headers]
    assert names == [name.encode() for name, _ in HEADERS] + [b"Subject", b"MIME-Version", b"Content-Type"]


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in CONTENTS:
        (GOLDEN / f"{each}.eml").write_bytes(golden(each))
