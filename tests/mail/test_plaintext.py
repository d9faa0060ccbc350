"""The text part that is read off a mail's HTML: what a person sees, in lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartwheel.mail.plaintext import as_text

TAGS = "<p> </p> <ul> <li> </ul> <a> </a> <h1> </h1> <pre> <blockquote> <td> <br> x"

quick = settings(max_examples=100, derandomize=True, deadline=None, database=None)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>Hello   <b>Ada</b>,\n you</p><p>two</p>", "Hello Ada, you\n\ntwo\n"),
        ("one<br>two<br><br>three<br><br><br><br>four", "one\ntwo\n\nthree\n\nfour\n"),
        ("<div>one</div><div><div>two</div></div>", "one\ntwo\n"),
        ("<h1>Title</h1><p>x</p><h2>Part</h2>y<h3>Piece</h3>z", "Title\n=====\n\nx\n\nPart\n----\n\ny\n\nPiece\n\nz\n"),
        ("<h1></h1>x", "x\n"),
        ("<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>d", "- a\n- b\n  - c\n\nd\n"),
        ("<ol><li>a<br>b</li><li><p>c</p><p>d</p></li></ol>", "1. a\n   b\n2. c\n\n   d\n"),
        ("<ol start=9><li>a</li><li>b</li></ol>", "9. a\n10. b\n"),
        ("<ol start=xx><li>a</li></ol><li>b</li>", "1. a\n\n- b\n"),
        ("<ul><li></li><li>a</li></ul>", "- a\n"),
        ("<ul><li></li></ul>a", "a\n"),
        ("<blockquote><p>a</p><p>b</p></blockquote>c", "> a\n>\n> b\n\nc\n"),
        ("a<hr>b", "a\n\n--------------------\n\nb\n"),
        ("<pre>a\n  b\n\nc</pre>", "a\n  b\n\nc\n"),
        ("a&nbsp;b &amp; &lt;c&gt;", "a b & <c>\n"),
        ('<img alt="Our shop" src="x.png"> <img src="y.png">', "Our shop\n"),
        ("", ""),
    ],
)
def test_blocks_become_lines(page: str, text: str) -> None:
    assert as_text(page, "q0merge") == text


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ('<a href="https://a.example/?x=1&amp;y=2">our shop</a>!', "our shop (https://a.example/?x=1&y=2)!\n"),
        ('<a href="https://a.example/">https://a.example/</a>', "https://a.example/\n"),
        ('<a href="https://a.example">a.example</a>', "a.example\n"),
        ('<a href="mailto:ada@a.example">write</a>', "write (ada@a.example)\n"),
        ('<a href="mailto:ada@a.example">ada@a.example</a>', "ada@a.example\n"),
        ('<a href="tel:+441">call</a>', "call (+441)\n"),
        ('<a href="#top">up</a> <a>x</a> <a href="javascript:x()">y</a> <a href="/z">z</a>', "up x y z\n"),
        ('<a href="https://a.example"><img src="x"></a>', "https://a.example\n"),
        ('<a href="https://a.example"><h1>Big</h1></a>', "Big\n===\n\n(https://a.example)\n"),
        ('<a href="q0merge0q">site</a>', "site (q0merge0q)\n"),
    ],
)
def test_links_show_where_they_lead(page: str, text: str) -> None:
    assert as_text(page, "q0merge") == text


@pytest.mark.parametrize(
    "hidden",
    [
        "<style>p{color:red}</style>",
        "<script>x()</script>",
        "<title>t</title>",
        "<!-- note -->",
        "<!--[if mso]><p>Outlook</p><![endif]-->",
        "<p hidden>x</p>",
        '<div style="display:none">x</div>',
        '<div style="color:red; DISPLAY : none !important"><p>x</p></div>',
        '<div style="visibility:hidden">x</div>',
        '<div style="max-height:0;overflow:hidden">x</div>',
        '<div style="opacity:0">x</div>',
        "<template><p>x</p></template>",
    ],
)
def test_what_nobody_sees_is_left_out(hidden: str) -> None:
    assert as_text(f"<p>a</p>{hidden}<p>b</p>", "q0merge") == "a\n\nb\n"


@pytest.mark.parametrize("style", ["opacity:0.9", "max-height:0.5em", "font-size:0px", "x-display:none"])
def test_what_only_looks_hidden_is_not(style: str) -> None:
    assert as_text(f'<div style="{style}">a</div>', "q0merge") == "a\n"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            "<table><tr><th>Item</th><th>Price</th></tr><tr> <td>Tea</td> <td>£3</td> </tr></table>",
            "Item | Price\nTea | £3\n",
        ),
        ("<table><tr><td><p>left</p></td><td><div>right</div></td></tr></table>", "left\n\nright\n"),
        ("<table><tr><td><table><tr><td>a</td><td>b</td></tr></table></td></tr></table>", "a | b\n"),
    ],
)
def test_tables_of_data_keep_their_rows_and_those_of_layout_do_not(page: str, text: str) -> None:
    assert as_text(page, "q0merge") == text


@quick
@given(st.lists(st.sampled_from(TAGS.split())))
def test_any_soup_of_tags_is_read(tags: list[str]) -> None:
    text = as_text("".join(tags), "q0merge")
    assert text.count("x") == tags.count("x")
    assert "\n\n\n" not in text


def test_nesting_costs_no_stack() -> None:
    assert as_text("<div>" * 5_000 + "x", "q0merge") == "x\n"
