"""What people set on the pages for the whole installation: its mail servers."""

import sqlalchemy as sa

from cartwheel.data import catalog, schema
from cartwheel.mail.smtpurl import Route, parse_routes

_MAIL_SERVERS = "mail servers"
_BEFORE = "mail servers before"


def mail_servers(connection: sa.Connection) -> str:
    """In the form of CARTWHEEL_SMTP; empty for the test mailbox."""
    table = schema.installation
    found = connection.execute(sa.select(table.c.value).where(table.c.name == _MAIL_SERVERS)).scalar_one_or_none()
    return found or ""


def routes(connection: sa.Connection) -> tuple[Route, ...]:
    """None for the test mailbox. Raises `BadSetting` for what an older version had stored, and this one cannot read."""
    text = mail_servers(connection)
    return parse_routes(text) if text else ()


def put_mail_servers(connection: sa.Connection, text: str) -> None:
    """Running workers take them up. Raises `BadSetting`, and changes nothing, if they cannot be read."""
    if text:
        parse_routes(text)
    _put(connection, _BEFORE, mail_servers(connection))
    _put(connection, _MAIL_SERVERS, text)


def undo_mail_servers(connection: sa.Connection) -> None:
    """Those that were there before the last change are back."""
    table = schema.installation
    before = connection.execute(sa.select(table.c.value).where(table.c.name == _BEFORE)).scalar_one_or_none()
    put_mail_servers(connection, before or "")


def _put(connection: sa.Connection, name: str, value: str) -> None:
    table = schema.installation
    connection.execute(sa.delete(table).where(table.c.name == name))
    connection.execute(sa.insert(table).values(name=name, value=value))


def lock(connection: sa.Connection) -> None:
    """Whoever changes what they have read begins with this."""
    catalog.lock(connection)


def is_led_from(connection: sa.Connection, account_id: int) -> bool:
    """Whether owners of this account decide for the installation: it is the first one."""
    return min(catalog.account_numbers(connection), default=account_id) == account_id
