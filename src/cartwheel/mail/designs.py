"""The body of a mail as MJML, for those who go on with it in the visual editor."""

from cartwheel.mail.mailhtml import Kind, is_whole, markdown_html
from cartwheel.mail.merge import BadContent, Cover

_AROUND = """<mjml>
<mj-body background-color="#ffffff">
<mj-section>
<mj-column>
<mj-text font-size="16px" line-height="1.6" color="#24292f">{}</mj-text>
</mj-column>
</mj-section>
</mj-body>
</mjml>
"""


def as_mjml(kind: Kind, source: str) -> str:
    """MJML as it is; anything else as one text of a design, with its merge fields as they were typed.

    Raises `BadContent` for an HTML document with a head of its own: what its styles mean could not be kept.
    """
    if kind is Kind.MJML and source.strip():
        return source
    if kind is Kind.HTML and is_whole(source):
        raise BadContent("A whole HTML document cannot become MJML: only its source can be edited")
    if kind is Kind.MARKDOWN:
        cover = Cover(source)
        source = cover.typed(markdown_html(cover.put(source)))
    return _AROUND.format(source.strip())
