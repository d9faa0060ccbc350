"""No mail takes the server with it: whatever a parser could nest too deep is refused before a parser sees it."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cartwheel.mail.mailhtml import Kind, document
from cartwheel.mail.merge import BadContent
from cartwheel.mail.nesting import Counted, check_depth, real_depth

soups = settings(max_examples=500, derandomize=True, deadline=None, database=None)

DEEP = [
    "<div/>",
    "<div><!--</div>-->",
    '<div title="</div>">',
    "<div a=1/>",
    "<div><!--></div><div>-->",
    "<div><style></div></style>",
    "<div><textarea></div></textarea>",
    "<div><table><td></div>",
    "<b><i></b>",
    "<ul><li>",
    "<DIV/>",
]


@pytest.mark.parametrize("deep", DEEP)
@pytest.mark.parametrize("number", [300, 20_000])
def test_nothing_hides_how_deep_elements_are_nested(deep: str, number: int) -> None:
    for kind, source in [
        (Kind.HTML, deep * number),
        (Kind.HTML, "<svg>" + deep * number),
        (Kind.MARKDOWN, deep * number),
        (Kind.MJML, f"<mjml><mj-body><mj-raw>{deep * number}</mj-raw></mj-body></mjml>"),
    ]:
        if kind is Kind.MJML and deep.endswith("/>") and "=" not in deep:
            continue  # there, it is the end of the element
        with pytest.raises(BadContent, match=r"nested deeper|cannot be read|again and again"):
            document(kind, source, str)


@pytest.mark.parametrize(
    "deep",
    [
        '<mj-section a="</mj-section>">',
        "<mj-section><!--></mj-section>-->",
        "<mj-section><![CDATA[></mj-section>]]>",
        "<mj-section><?x ></mj-section>?>",
        "<p>",
        "<style><style><p>",
        "<svg><td>",
    ],
)
def test_nothing_hides_how_deep_mjml_is_nested(deep: str) -> None:
    with pytest.raises(BadContent, match="nested deeper"):
        document(Kind.MJML, f"<mjml><mj-body>{deep * 20_000}", str)


def test_in_an_image_every_element_without_a_closing_tag_counts() -> None:
    for name in ("td", "link", "input", "col", "html", "option", "x"):
        with pytest.raises(BadContent, match="nested deeper"):
            document(Kind.HTML, "<svg>" + f"<{name}>" * 20_000, str)


def test_formatting_that_never_ends_is_not_multiplied() -> None:
    open_ones = "".join(f"<b a={number}>" for number in range(150))
    with pytest.raises(BadContent, match="again and again"):
        document(Kind.HTML, f"<p>{open_ones}" + "<p>x" * 20_000, str)


@pytest.mark.parametrize(
    "flat",
    [
        "<p>One<p>two<br><hr><img src='https://x.example/a.png'>",
        "<ul><li>One<li>two</ul><dl><dt>One<dd>two</dl>",
        "<table><tr><td>One<td>two<tr><th>three</table>",
        "<table><tbody><tr><td><font color=red><b>One</td></tr></tbody></table>",
        "<div><!-- <div> --><p>One</div>",
        "<!--[if mso]><table><tr><td><![endif]--><div>One</div><!--[if mso]></td></tr></table><![endif]-->",
        "<style>a > b { color: red } /* <div> */</style>",
        "<a title='<div>' href=https://x.example/?a=b/>One</a>",
        "<div><span>One</div>",
        "<svg><path d='M0 0'/><path d='M0 0'/></svg>",
    ],
)
def test_what_is_long_is_not_deep(flat: str) -> None:
    document(Kind.HTML, flat * 400, str)


NAMES = [
    "div",
    "p",
    "li",
    "ul",
    "dl",
    "dd",
    "dt",
    "table",
    "tr",
    "td",
    "th",
    "tbody",
    "caption",
    "span",
    "b",
    "i",
    "a",
    "font",
    "em",
    "nobr",
    "h1",
    "button",
    "form",
    "br",
    "img",
    "input",
    "col",
    "svg",
    "math",
    "path",
    "foreignObject",
    "title",
    "style",
    "script",
    "textarea",
    "select",
    "option",
    "template",
    "noscript",
    "object",
    "pre",
    "body",
    "html",
    "x",
]
pieces = st.one_of(
    st.builds("<{}>".format, st.sampled_from(NAMES)),
    st.builds("</{}>".format, st.sampled_from(NAMES)),
    st.builds("<{}/>".format, st.sampled_from(NAMES)),
    st.builds(
        "<{} {}>".format, st.sampled_from(NAMES), st.sampled_from(["a='>'", 'a="</div>"', "a=b/", "a='", "=\"'>"])
    ),
    st.sampled_from(
        ["<!--", "-->", "--!>", "<!-->", "<![CDATA[", "]]>", "<?x", "x", '"', "'", ">", "<", "/", "=", " ", "</"]
    ),
)
common = st.sampled_from(
    [f"<{slash}{name}>" for name in ["div", "p", "li", "table", "tr", "td", "b", "span", "a"] for slash in ("", "/")]
)


@soups
@given(
    st.lists(st.one_of(common, pieces), max_size=12).map("".join),
    st.lists(st.one_of(common, pieces), max_size=30).map("".join),
)
@example("", "<table><tr><td><div></td>")
def test_no_parser_nests_deeper_than_what_is_counted(again: str, rest: str) -> None:
    for source in (again * 12 + rest, rest + again * 12):
        assert real_depth(f"<!DOCTYPE html>{source}") <= Counted(source).depth


def test_the_real_depth() -> None:
    assert real_depth("<p>a<p><b>b</b>") == 5  # html, body, p, b, the text
    check_depth("<div>" * 200)
    with pytest.raises(BadContent):
        check_depth("<div>" * 205)
