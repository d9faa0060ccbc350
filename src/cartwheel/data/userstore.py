"""People who sign in: who they are, where they are members, their sessions, links that work once, and what they did.

Tokens of cookies and links are long and random, and stored as their SHA-256 only.
"""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cartwheel.data import catalog, schema
from cartwheel.people import LINK_LASTS, RIGHTS, SESSION, LinkKind, OneTimeLink, Right, Role, Session, User
from cartwheel.times import from_micros, to_micros

SEEN_EVERY_MICROS = 60_000_000
"""A session's last use is stored no more often than this."""


def new_token() -> str:
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


# -- users --


def count(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(schema.users)).scalar_one())


def user(connection: sa.Connection, user_id: int) -> User | None:
    return _user(connection, schema.users.c.id == user_id)


def user_of(connection: sa.Connection, email: str) -> User | None:
    return _user(connection, schema.users.c.email == email)


def by_origin(connection: sa.Connection, origins: Collection[str]) -> dict[str, str]:
    """What the people are called who are behind these origins of events, as far as they are people."""
    numbers = [int(number) for kind, _, number in (origin.partition(":") for origin in origins) if kind == "user"]
    if not numbers:
        return {}
    found = connection.execute(sa.select(schema.users).where(schema.users.c.id.in_(numbers)))
    return {person.origin: person.name or person.email for person in map(_read, found)}


def _user(connection: sa.Connection, which: sa.ColumnElement[bool]) -> User | None:
    row = connection.execute(sa.select(schema.users).where(which)).one_or_none()
    return None if row is None else _read(row)


def _read(row: Any) -> User:
    return User(
        row.id,
        row.email,
        row.name,
        row.password_hash,
        row.totp_secret,
        row.language,
        row.theme,
        from_micros(row.created_at),
    )


def add(connection: sa.Connection, email: str, name: str, password_hash: str, now: datetime) -> User:
    table = schema.users
    catalog.lock(connection)  # two who are added at the same time get two numbers
    number = catalog.next_id(connection, table)
    made = User(number, email, name, password_hash, "", "", "auto", now)
    row = {
        "id": number,
        "email": email,
        "name": name,
        "password_hash": password_hash,
        "totp_secret": "",
        "totp_used": 0,
        "language": "",
        "theme": "auto",
        "created_at": to_micros(now),
    }
    connection.execute(sa.insert(table), row)
    return made


def everybody(connection: sa.Connection) -> list[User]:
    """In the order in which they came."""
    return [_read(row) for row in connection.execute(sa.select(schema.users).order_by(schema.users.c.id))]


def change(connection: sa.Connection, user_id: int, **values: Any) -> None:
    connection.execute(sa.update(schema.users).where(schema.users.c.id == user_id).values(**values))


# -- members --


@dataclass(frozen=True, slots=True)
class Member:
    user: User
    role: Role
    since: datetime


def roles_of(connection: sa.Connection, user_id: int) -> dict[int, Role]:
    """By account, in the order of their numbers."""
    table = schema.memberships
    query = sa.select(table.c.account_id, table.c.role).where(table.c.user_id == user_id).order_by(table.c.account_id)
    return {row.account_id: Role(row.role) for row in connection.execute(query)}


def members(connection: sa.Connection, account_id: int) -> list[Member]:
    """Oldest first."""
    users, table = schema.users, schema.memberships
    query = (
        sa.select(users, table.c.role, table.c.created_at.label("since"))
        .join(table, table.c.user_id == users.c.id)
        .where(table.c.account_id == account_id)
        .order_by(table.c.created_at, users.c.id)
    )
    return [Member(_read(row), Role(row.role), from_micros(row.since)) for row in connection.execute(query)]


def put_member(connection: sa.Connection, account_id: int, user_id: int, role: Role, now: datetime) -> None:
    """Make somebody a member, or give a member another role."""
    table = schema.memberships
    here = (table.c.account_id == account_id) & (table.c.user_id == user_id)
    if connection.execute(sa.update(table).where(here).values(role=role.value)).rowcount == 0:
        row = {"account_id": account_id, "user_id": user_id, "role": role.value, "created_at": to_micros(now)}
        connection.execute(sa.insert(table), row)
    elif Right.PEOPLE not in RIGHTS[role]:
        _forget_invitations_by(connection, account_id, user_id)


def role_in(connection: sa.Connection, account_id: int, user_id: int) -> Role | None:
    """None for who is no member."""
    return roles_of(connection, user_id).get(account_id)


def is_last_owner(connection: sa.Connection, account_id: int, user_id: int) -> bool:
    """Whether nobody would own the account without this person. Two who leave at once wait for each other."""
    catalog.lock(connection)
    owners = [member.user.id for member in members(connection, account_id) if member.role is Role.OWNER]
    return owners == [user_id]


def remove_member(connection: sa.Connection, account_id: int, user_id: int) -> None:
    """The person's sessions in this account end with it, and nobody comes by their invitations any more."""
    _forget_invitations_by(connection, account_id, user_id)
    for table in (schema.memberships, schema.sessions):
        connection.execute(sa.delete(table).where(table.c.account_id == account_id, table.c.user_id == user_id))


def _forget_invitations_by(connection: sa.Connection, account_id: int, user_id: int) -> None:
    connection.execute(sa.delete(schema.one_time_links).filter_by(account_id=account_id, user_id=user_id))


# -- sessions --


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Everything about a browser's session, read at once. `role` is that in the session's account."""

    session: Session
    user: User
    role: Role
    notice: str


def open_session(
    connection: sa.Connection, user_id: int, account_id: int, now: datetime, address: str, agent: str
) -> str:
    """Returns the token for the cookie."""
    token = new_token()
    row = {
        "digest": digest(token),
        "user_id": user_id,
        "account_id": account_id,
        "created_at": to_micros(now),
        "seen_at": to_micros(now),
        "address": address,
        "agent": agent,
        "notice": "",
    }
    connection.execute(sa.insert(schema.sessions), row)
    return token


def signed_in(connection: sa.Connection, token: str, now: datetime) -> SignedIn | None:
    """None for a session that has ended, or whose person is no longer a member."""
    users, members_, table = schema.users, schema.memberships, schema.sessions
    query = (
        sa.select(table, users, members_.c.role)
        .join(users, users.c.id == table.c.user_id)
        .join(members_, (members_.c.user_id == table.c.user_id) & (members_.c.account_id == table.c.account_id))
        .where(table.c.digest == digest(token), table.c.seen_at > to_micros(now - SESSION))
    )
    row = connection.execute(query.set_label_style(sa.LABEL_STYLE_TABLENAME_PLUS_COL)).one_or_none()
    if row is None:
        return None
    session = _session(row, "sessions_")
    person = User(
        row.users_id,
        row.users_email,
        row.users_name,
        row.users_password_hash,
        row.users_totp_secret,
        row.users_language,
        row.users_theme,
        from_micros(row.users_created_at),
    )
    return SignedIn(session, person, Role(row.memberships_role), row.sessions_notice)


def _session(row: Any, prefix: str = "") -> Session:
    def of(name: str) -> Any:
        return getattr(row, prefix + name)

    return Session(
        of("digest"),
        of("user_id"),
        of("account_id"),
        from_micros(of("created_at")),
        from_micros(of("seen_at")),
        of("address"),
        of("agent"),
    )


def sessions_of(connection: sa.Connection, user_id: int, now: datetime) -> Sequence[Session]:
    """Those that are signed in, last used first."""
    table = schema.sessions
    alive = (table.c.user_id == user_id) & (table.c.seen_at > to_micros(now - SESSION))
    return [_session(row) for row in connection.execute(sa.select(table).where(alive).order_by(table.c.seen_at.desc()))]


def change_session(connection: sa.Connection, digest_: str, **values: Any) -> None:
    connection.execute(sa.update(schema.sessions).where(schema.sessions.c.digest == digest_).values(**values))


def close_sessions(connection: sa.Connection, user_id: int, *, only: str = "", but: str = "") -> None:
    """All of a person, or `only` the one with this digest, or all `but` that one."""
    table = schema.sessions
    which = table.c.user_id == user_id
    if only:
        which &= table.c.digest == only
    connection.execute(sa.delete(table).where(which & (table.c.digest != but)))


def sign_out(connection: sa.Connection, person: User) -> None:
    """Every browser of a person, and every link that would let one in without the password that holds now."""
    close_sessions(connection, person.id)
    table = schema.one_time_links
    way_in = table.c.kind.in_([kind.value for kind in (LinkKind.PASSWORD, LinkKind.CODE, LinkKind.DEMO)])
    connection.execute(sa.delete(table).where(way_in, table.c.email == person.email))


# -- links that work once --


def make_link(
    connection: sa.Connection,
    kind: LinkKind,
    now: datetime,
    *,
    account_id: int | None = None,
    email: str = "",
    role: Role = Role.OWNER,
    sender: int | None = None,
) -> str:
    """Returns the token for the link. An earlier one for the same is gone."""
    table, token = schema.one_time_links, new_token()
    same = {"kind": kind.value, "account_id": account_id, "email": email}
    connection.execute(sa.delete(table).filter_by(**same))
    expires = to_micros(now + LINK_LASTS[kind])
    row = same | {"digest": digest(token), "role": role.value, "user_id": sender}
    row |= {"created_at": to_micros(now), "expires_at": expires}
    connection.execute(sa.insert(table), row)
    return token


def link(connection: sa.Connection, token: str, now: datetime) -> OneTimeLink | None:
    """What a token is for, as long as it works."""
    table = schema.one_time_links
    alive = (table.c.digest == digest(token)) & (table.c.expires_at > to_micros(now))
    row = connection.execute(sa.select(table).where(alive)).one_or_none()
    return None if row is None else _link(row)


def _link(row: Any) -> OneTimeLink:
    return OneTimeLink(
        row.digest,
        LinkKind(row.kind),
        row.account_id or 0,
        row.email,
        Role(row.role),
        row.user_id or 0,
        from_micros(row.created_at),
        from_micros(row.expires_at),
    )


def use_link(connection: sa.Connection, used: OneTimeLink) -> bool:
    """Whether it was there still: of two who use it at once, one does."""
    table = schema.one_time_links
    return connection.execute(sa.delete(table).where(table.c.digest == used.digest)).rowcount == 1


def invitations(connection: sa.Connection, account_id: int, now: datetime) -> list[OneTimeLink]:
    """Those that were not taken yet, newest first."""
    table = schema.one_time_links
    open_ = (
        (table.c.kind == LinkKind.INVITATION.value)
        & (table.c.account_id == account_id)
        & (table.c.expires_at > to_micros(now))
    )
    query = sa.select(table).where(open_).order_by(table.c.created_at.desc())
    return [_link(row) for row in connection.execute(query)]


def may_still_invite(connection: sa.Connection, invitation: OneTimeLink) -> bool:
    """Whether who sent it may still invite, and has all rights that it gives; the command line may always."""
    if not invitation.sender:
        return True
    role = role_in(connection, invitation.account_id, invitation.sender)
    return role is not None and RIGHTS[role] >= RIGHTS[invitation.role] | {Right.PEOPLE}


def revoke_invitation(connection: sa.Connection, account_id: int, email: str) -> bool:
    """Whether there was one."""
    table = schema.one_time_links
    this = {"kind": LinkKind.INVITATION.value, "account_id": account_id, "email": email}
    return connection.execute(sa.delete(table).filter_by(**this)).rowcount > 0


# -- what people did --


@dataclass(frozen=True, slots=True)
class Audited:
    """Somebody's change: `action` is the page's name for it, `subject` says of what."""

    id: int
    at: datetime
    who: str
    action: str
    subject: str


def audit(connection: sa.Connection, account_id: int, now: datetime, person: User, action: str, subject: str) -> None:
    _note(connection, account_id, now, (person.id, person.email), action, subject)


def audit_erasure(connection: sa.Connection, account_id: int, now: datetime, who: str, lead_id: int) -> None:
    """A lead was erased elsewhere than on the pages."""
    _note(connection, account_id, now, (0, who), "Erased a lead", f"no. {lead_id}")


def _note(
    connection: sa.Connection, account_id: int, now: datetime, who: tuple[int, str], action: str, subject: str
) -> None:
    table = schema.audit_log
    catalog.lock_account(connection, account_id)
    last = sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0) + 1).where(table.c.account_id == account_id)
    row = {
        "account_id": account_id,
        "id": last.scalar_subquery(),
        "at": to_micros(now),
        "user_id": who[0],
        "who": who[1],
        "action": action,
        "subject": subject,
    }
    connection.execute(sa.insert(table).values(row))


def audited(
    connection: sa.Connection, account_id: int, before: int | None, most: int, *, user_id: int | None = None
) -> list[Audited]:
    """Newest first, of all or of one person; `before` is the number of the last one of the page before."""
    table = schema.audit_log
    query = sa.select(table).where(table.c.account_id == account_id).order_by(table.c.id.desc()).limit(most)
    if before is not None:
        query = query.where(table.c.id < before)
    if user_id is not None:
        query = query.where(table.c.user_id == user_id)
    return [Audited(row.id, from_micros(row.at), row.who, row.action, row.subject) for row in connection.execute(query)]
