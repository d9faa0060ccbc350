"""From what an author wrote (MJML, Markdown or HTML) to the HTML document of a mail, with its CSS inlined.

Sources arrive covered (`merge.Cover`), so that no parser here meets a merge field. Nothing is fetched: includes and
style sheets of other servers are not read.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

import css_inline
import mjml
from selectolax.lexbor import LexborHTMLParser

from cartwheel.mail.merge import BadContent
from cartwheel.mail.nesting import check_depth

if TYPE_CHECKING:
    from markdown_it import MarkdownIt


class Kind(StrEnum):
    """The language in which a mail is written."""

    HTML = "html"
    MJML = "mjml"
    MARKDOWN = "markdown"


_LONGEST_SOURCE = 1 << 20

PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8">\
<meta name="viewport" content="width=device-width, initial-scale=1">{head}</head><body>{body}</body></html>"""

_LOOK = """<style>
body { margin: 0; padding: 0; background-color: #ffffff; color: #24292f; font-size: 16px; line-height: 1.6;
  font-family: -apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, Helvetica, Arial, sans-serif;
  -webkit-text-size-adjust: 100% }
.mail { max-width: 600px; margin: 0 auto; padding: 32px 24px; overflow-wrap: break-word }
h1, h2, h3, h4, h5, h6 { color: #1b1f24; line-height: 1.3; margin: 32px 0 12px }
h1 { font-size: 28px; margin-top: 0 }
h2 { font-size: 22px }
h3 { font-size: 18px }
h4, h5, h6 { font-size: 16px }
p, ul, ol, pre, blockquote, table { margin: 0 0 16px }
ul, ol { padding-left: 24px }
li { margin: 0 0 4px }
a { color: #0b5cad }
img { max-width: 100%; height: auto; border: 0 }
blockquote { padding-left: 16px; border-left: 4px solid #d0d7de; color: #57606a }
code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 14px; background-color: #f3f4f6 }
pre { padding: 12px 16px; background-color: #f3f4f6; white-space: pre-wrap }
hr { border: 0; border-top: 1px solid #d0d7de; margin: 32px 0 }
table { border-collapse: collapse }
th, td { border: 1px solid #d0d7de; padding: 6px 12px }
@media (max-width: 480px) { .mail { padding: 24px 16px !important } }
</style>"""

_WHOLE = re.compile(r"<(?:html|body)[\s>]", re.IGNORECASE)
_PLACE = re.compile(r" in root template at position (\d+):\d+$")

_inliner = css_inline.CSSInliner(
    load_remote_stylesheets=False, keep_style_tags=True, remove_inlined_selectors=True, keep_link_tags=True
)


def document(kind: Kind, source: str, typed: Callable[[str], str]) -> str:
    """The whole document, with its CSS inlined. `typed` uncovers what a message quotes. Raises `BadContent`."""
    if not source.strip():
        raise BadContent("The mail has no content")
    if len(source) > _LONGEST_SOURCE:
        raise BadContent(f"The mail is longer than {_LONGEST_SOURCE >> 20} MiB")
    if kind is Kind.MJML:
        check_depth(source, mjml=True)
    page = _MAKERS[kind](source)
    check_depth(page)
    return _inlined(page, typed)


def is_whole(source: str) -> bool:
    """Whether HTML is a document, and not only what stands in one."""
    return _WHOLE.search(source) is not None


def markdown_html(source: str) -> str:
    """Covered Markdown as what stands in a document."""
    rendered: str = _markdown().render(source)
    return rendered


def _from_html(source: str) -> str:
    if not is_whole(source):
        return PAGE.format(head="", body=source)
    return source if source.lstrip()[:9].lower() == "<!doctype" else f"<!DOCTYPE html>{source}"


@cache
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # noqa: PLC0415 - not every mail is written so

    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


def _from_markdown(source: str) -> str:
    return PAGE.format(head=_LOOK, body=f'<div class="mail">{markdown_html(source)}</div>')


def _from_mjml(source: str) -> str:
    try:
        page = mjml.mjml2html(source, fonts={})  # without any, a mail asks no font server unless its author says so
    except ValueError as error:
        raise BadContent(f"The MJML cannot be read: {_located(str(error), source)}") from None
    left = re.search(r"<(mj-[\w-]+)", page)
    if left:
        line = source.count("\n", 0, source.find(f"<{left[1]}")) + 1
        raise BadContent(f"The MJML cannot be read: there is no <{left[1]}>, or not in this place (line {line})")
    return page


def _located(message: str, source: str) -> str:
    place = _PLACE.search(message)
    if place is None:
        return message.removesuffix(" in root template")
    line = source.encode()[: int(place[1])].count(b"\n") + 1
    return f"{message[: place.start()]} (line {line})"


_MAKERS: Mapping[Kind, Callable[[str], str]] = {
    Kind.HTML: _from_html,
    Kind.MJML: _from_mjml,
    Kind.MARKDOWN: _from_markdown,
}


def _inlined(page: str, typed: Callable[[str], str]) -> str:
    try:
        return _inliner.inline(page)
    except ValueError as error:
        for node in LexborHTMLParser(page).css("[style]"):
            style = node.attributes["style"] or ""
            if not _is_style(style):
                raise BadContent(f'The style "{typed(style)}" of <{node.tag}> is no CSS') from None
        raise BadContent(f"The CSS cannot be read: {typed(str(error))}") from None


def _is_style(style: str) -> bool:
    quoted = style.replace("&", "&amp;").replace('"', "&quot;")
    try:
        _inliner.inline_fragment(f'<p style="{quoted}">', "p { margin: 0 }")
    except ValueError:
        return False
    return True
