"""Whatever a lead wrote is text, wherever it lands."""

from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nasty import NASTY, VALUES
from selectolax.lexbor import LexborHTMLParser, LexborNode

from cartwheel.mail.mailhtml import Kind
from cartwheel.mail.merge import BadContent, clean_value
from cartwheel.mail.render import Content, compile_mail

quick = settings(max_examples=100, derandomize=True, deadline=None, database=None)

EVERYWHERE = """<html><head><title>To {x}</title><style>.a:hover { color: {x} } .b:hover { width: 1px }</style></head><body>
<!-- note {x} -->
<!--[if mso]><v:rect href="{x}" style="width:{x}" alt="{x}" fill={x}><p title='{x}'>{x}</p></v:rect><![endif]-->
<h1>Hello {x}</h1><p title="for {x}" style="color: {x}; margin: 0" data-x='{x}'>{x}{x}<b>{x}</b></p>
<a href="{x}">1</a> <a href="https://a.example/{x}?q={x}#{x}">2</a> <a href="mailto:{x}?subject={x}">3</a> <a href="tel:{x}">4</a>
<a href="{x}/more">5</a> <a href="x-app:{x}">6</a> <a href="/{x}">7</a> <a href="javascript:go('{x}')" onclick="go('{x}')">8</a>
<img src="{x}" alt="{x}"> <img src="https://a.example/{x}.png"> <table background="{x}"><tr><td width="{x}">x</td></tr></table>
<textarea>{x}</textarea> <script>var name = "{x}";</script> <noscript><p title="{x}">{x}</p></noscript>
<a href="{unsubscribe_link}">bye</a></body></html>"""

PAGE = compile_mail(Content(subject="{x}", kind=Kind.HTML, source=EVERYWHERE, preview="{x}"))
LINKS = {"unsubscribe_link": "https://mail.example/u"}


def filled(value: str) -> str:
    return PAGE.fill({"x": value, **LINKS}).html


def shown(value: str) -> str:
    """What there is to see of a value."""
    text = clean_value(value)
    return text if text.strip() else ""


def in_one_line(text: str) -> str:
    return " ".join(text.split()) if "\n" in text or "\t" in text else text


def skeleton(page: str) -> list[tuple[str, tuple[str, ...], str]]:
    """Everything that is markup: elements, the names of their attributes, comments and the elements in them."""

    def bones(node: LexborNode) -> tuple[str, tuple[str, ...], str]:
        if node.is_comment_node:
            return ("comment", (), repr(skeleton((node.comment_content or "").replace("[if mso]", ""))))
        return (node.tag or "", tuple(node.attributes), "")

    root = LexborHTMLParser(page).root
    assert root is not None
    nodes = [node for node in root.traverse(include_text=False, skip_empty=False) if node.tag != "br"]
    return [bones(node) for node in nodes]


@quick
@given(VALUES)
def test_no_value_adds_or_removes_markup(value: str) -> None:
    assert skeleton(filled(value)) == skeleton(filled("x"))


@pytest.mark.parametrize("value", NASTY)
def test_none_of_the_known_tricks_adds_or_removes_markup(value: str) -> None:
    assert skeleton(filled(value)) == skeleton(filled("x"))


@quick
@given(VALUES)
def test_a_reader_sees_what_the_lead_wrote(value: str) -> None:
    page = LexborHTMLParser(filled(value))
    written = shown(value)
    (heading, title) = (page.css_first("h1"), page.css_first("p[title]"))
    assert heading is not None
    assert title is not None
    words = [part for part in (heading.text() or "").removeprefix("Hello ").split("\n") if part]
    assert words == [part for part in written.split("\n") if part]
    assert title.attributes["title"] == f"for {in_one_line(written)}"


@quick
@given(VALUES)
def test_every_address_leads_where_its_author_wanted(value: str) -> None:
    links = [node.attributes["href"] or "" for node in LexborHTMLParser(filled(value)).css("a")]
    whole, part, mail, phone, start, unknown, relative, script, *_ = links
    assert urlsplit(whole).scheme in {"", "http", "https", "mailto"}
    assert whole in {"", clean_value(value).strip()}
    assert start in {"/more", f"{clean_value(value).strip()}/more"}
    assert (urlsplit(part).scheme, urlsplit(part).netloc) == ("https", "a.example")
    assert part.count("?") == part.count("#") == 1
    assert (mail[:7], mail.count("?"), mail.count("&")) == ("mailto:", 1, 0)
    assert set(phone.removeprefix("tel:")) <= set("0123456789+.-")
    assert (urlsplit(unknown).scheme, urlsplit(relative).netloc) == ("x-app", "")
    assert not set("'\"()%;<>") & set(script.removeprefix("javascript:go('").removesuffix("')"))


@pytest.mark.parametrize(
    ("value", "href"),
    [
        ("https://ada.example/?a=1&b=2", "https://ada.example/?a=1&b=2"),
        ("https://ada.example/?a=1&amp;b=2", "https://ada.example/?a=1&amp;b=2"),
        ("HTTP://ada.example", "HTTP://ada.example"),
        (" https://ada.example ", "https://ada.example"),
        ("mailto:ada@shop.example", "mailto:ada@shop.example"),
        ("javascript:alert(1)", ""),
        ("JAVASCRIPT:alert(1)//https://x", ""),
        ("data:text/html,x", ""),
        ("www.ada.example", ""),
        ("//ada.example", ""),
        ("https://ada.example/a b", ""),
        ('https://ada.example/"x', ""),
        ("https:", ""),
        ("", ""),
    ],
)
def test_a_value_is_a_link_only_if_it_is_safe_to_follow(value: str, href: str) -> None:
    for markup, selector, name in (('<a href="{x}">x</a>', "a", "href"), ('<img src="{x}">', "img", "src")):
        page = compile_mail(Content(subject="x", kind=Kind.HTML, source=markup)).fill({"x": value, **LINKS}).html
        node = LexborHTMLParser(page).css_first(selector)
        assert node is not None
        assert (node.attributes[name] or "") == href


@pytest.mark.parametrize(
    ("markup", "value", "written"),
    [
        (
            '<a href="https://a.example/?m={x}">',
            "a+b@c.example & d/é",
            "https://a.example/?m=a%2Bb%40c.example%20%26%20d%2F%C3%A9",
        ),
        ('<a href="mailto:{x}">', "a+b@c.example?bcc=d", "mailto:a+b@c.example%3Fbcc%3Dd"),
        ('<a href="tel:{x}">', "+44 (20) 7946-0000;x", "tel:+44207946-0000"),
        ('<a href="x-app:{x}">', "a:b/c", "x-app:abc"),
        ('<p style="color:{x}">', "#ff0000", "color:#ff0000"),
        ('<p style="color:{x}">', "red;background:url(//evil.example)", "color:redbackground:url//evil.example"),
        ('<p title="{x}">', 'a\n"b"', "a &quot;b&quot;"),
        ("<p>{x}</p>", "1 Road\nLondon <b>", "<p>1 Road<br>\nLondon &lt;b&gt;</p>"),
        ("<title>{x}</title>", "a\nb", "<title>a b</title>"),
        ('<script>a = "{x}"</script>', 'b"; c("d@e', 'a = "b cd@e"'),
        ("<a onclick=\"go('{x}')\">", "a');b('c", "onclick=\"go('abc')\""),
        ("<style>.a:hover{color:{x}}</style>", "red}*{x:y", "color: redx:y"),
    ],
)
def test_each_place_has_its_own_way(markup: str, value: str, written: str) -> None:
    page = compile_mail(Content(subject="x", kind=Kind.HTML, source=markup)).fill({"x": value}).html
    assert written in page


@quick
@given(VALUES, st.sampled_from(["Dear {x},", "https://a.example/?a={x}&b=1 {x}"]))
def test_in_the_text_part_a_value_is_text_and_in_a_url_a_part_of_it(value: str, text: str) -> None:
    mail = compile_mail(Content(subject="x", kind=Kind.HTML, source="x", text=text))
    written = shown(value)
    assert mail.fill({"x": value}).text.partition("\n\n----")[0] == text.replace(
        "?a={x}", f"?a={quote(in_one_line(written), safe='')}"
    ).replace("{x}", written)


@quick
@given(VALUES)
def test_a_value_in_the_subject_stays_there(value: str) -> None:
    built = PAGE.build({"x": value, **LINKS}, [("To", "ada@shop.example")])
    assert [name for name, _ in built.headers] == [b"To", b"Subject", b"MIME-Version", b"Content-Type"]
    assert all(b"\n" not in value.replace(b"\r\n ", b"") for _, value in built.headers)


@pytest.mark.parametrize(
    "place", ["<p {x}>", "<p {x}='y'>", "<a{x} href='y'>", "<{x}>", "<!--[if mso]><p {x}><![endif]-->"]
)
def test_a_field_in_the_bones_of_a_tag_is_refused(place: str) -> None:
    with pytest.raises(BadContent, match=r"\{x\} inside the tag"):
        compile_mail(Content(subject="x", kind=Kind.HTML, source=place))
