"""Templates, and the files that pages load."""

import json
import mimetypes
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from babel.dates import format_date, format_datetime, format_timedelta
from babel.numbers import format_decimal, format_percent
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from jinja2_fragments import render_block
from markupsafe import Markup, escape
from starlette.responses import PlainTextResponse, Response

from cartwheel.errors import CannotServe
from cartwheel.phrases import kept
from cartwheel.ui.visits import Visit

STATIC = "/static/"

_FOREVER = "public, max-age=31536000, immutable"


@cache
def _folder() -> Traversable:
    return files("cartwheel").joinpath("ui", "static")


@cache
def manifest() -> Mapping[str, str]:
    """The built files' names with their digests, by their plain names. Raises `CannotServe` if nothing was built."""
    file = _folder().joinpath("manifest.json")
    if not file.is_file():
        raise CannotServe("the pages' files are not built: `make assets` builds them")
    names: Mapping[str, str] = json.loads(file.read_text())
    return names


def asset(name: str) -> str:
    return STATIC + manifest()[name]


def serve(name: str, accept_encoding: str) -> Response:
    """A built file by its full name, packed as well as the browser can unpack it."""
    if name not in manifest().values():
        return PlainTextResponse("There is no such file\n", 404)
    headers = {"Cache-Control": _FOREVER, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
    packed = name
    for coding, suffix in (("br", ".br"), ("gzip", ".gz")):
        if coding in accept_encoding:
            packed, headers["Content-Encoding"] = name + suffix, coding
            break
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(_bytes(packed), media_type=media_type, headers=headers)


@cache
def _bytes(name: str) -> bytes:
    return _folder().joinpath(name).read_bytes()


def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("cartwheel", "ui/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
    )
    made.install_gettext_callables(_gettext, _ngettext, newstyle=True)  # type: ignore[attr-defined] # the extension adds it
    made.globals |= {"asset": asset, "icon": icon}
    made.filters |= {
        "moment": moment,
        "day": day,
        "date": date_only,
        "ago": ago,
        "count": number,
        "share": share,
        "pair": pair,
        "said": said,
        "kept": stored,
        "coded": coded,
    }
    return made


def render(made: Environment, template: str, block: str, context: Mapping[str, Any]) -> str:
    if block:
        return str(render_block(made, template, block, dict(context)))
    return made.get_template(template).render(context)


def icon(name: str, label: str = "") -> Markup:
    """A drawing, told to screen readers only if it has a label."""
    told = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    return Markup('<svg class="icon" {}><use href="{}#{}"></use></svg>').format(told, asset("icons.svg"), name)


def pair(value: object) -> tuple[object, object]:
    """An option whose label is its value."""
    return value, value


def coded(text: str) -> Markup:
    """A text with what stands between backticks, as in docstrings and terminals, marked as code."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # one without its other
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))


# -- texts and values in the visitor's language --


@pass_context
def _gettext(context: Context, text: str) -> str:
    return _visit(context).language.gettext(text)


@pass_context
def _ngettext(context: Context, one: str, many: str, count: int) -> str:
    return _visit(context).language.ngettext(one, many, count)


@pass_context
def said(context: Context, text: str) -> str:
    """What another part of Cartwheel says, if it is a phrase."""
    return _visit(context).language.say(text)


@pass_context
def stored(context: Context, text: str) -> str:
    """What was said then and kept, if it is one of the sentences that the code has."""
    return _visit(context).language.say(kept(text))


def _visit(context: Context) -> Visit:
    visit = context["visit"]
    assert isinstance(visit, Visit)
    return visit


@pass_context
def moment(context: Context, at: datetime | None) -> str:
    """In the account's time zone."""
    visit = _visit(context)
    if at is None:
        return ""
    zone = visit.account.zone if visit.signed_in else None
    return format_datetime(at, "d MMM y, HH:mm", tzinfo=zone, locale=visit.language.locale)


@pass_context
def day(context: Context, at: datetime | None) -> str:
    visit = _visit(context)
    if at is None:
        return ""
    local = at.astimezone(visit.account.zone) if visit.signed_in else at
    return format_date(local, "d MMM y", locale=visit.language.locale)


@pass_context
def date_only(context: Context, at: date) -> str:
    """A day of a calendar."""
    return format_date(at, "d MMM y", locale=_visit(context).language.locale)


@pass_context
def ago(context: Context, at: datetime) -> str:
    """`5 minutes ago`, `in 2 days`."""
    visit = _visit(context)
    return format_timedelta(at - visit.now, add_direction=True, locale=visit.language.locale)


@pass_context
def number(context: Context, value: float) -> str:
    return str(format_decimal(value, locale=_visit(context).language.locale))


@pass_context
def share(context: Context, value: float) -> str:
    return str(format_percent(value, "#,##0.#%", locale=_visit(context).language.locale))
