"""Who signs in to the pages, and what each role may do there. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

SESSION = timedelta(days=30)
"""So long a session that is not used stays signed in."""

LONGEST_PASSWORD = 200
SHORTEST_PASSWORD = 10


class Role(StrEnum):
    """What somebody is in an account."""

    OWNER = "owner"
    MARKETER = "marketer"
    INTEGRATOR = "integrator"
    VIEWER = "viewer"


class Right(StrEnum):
    """What a page may need. Those that an App can have, too, have the names of its scopes."""

    ACCOUNT_READ = "account:read"
    LEADS_READ = "leads:read"
    LEADS_WRITE = "leads:write"
    LISTS_WRITE = "lists:write"
    TAGS_WRITE = "tags:write"
    FIELDS_WRITE = "fields:write"
    POINTS_WRITE = "points:write"
    SEQUENCES_WRITE = "sequences:write"
    MAIL_WRITE = "mail:write"
    EXPORT = "export"
    """To take away many leads at once, or all of one."""
    INTEGRATIONS = "integrations"
    """Keys, Apps, and the calls that they made."""
    SETTINGS = "settings"
    PEOPLE = "people"


_LOOK = frozenset({Right.ACCOUNT_READ, Right.LEADS_READ})

RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.OWNER: frozenset(Right),
    Role.MARKETER: frozenset(Right) - {Right.INTEGRATIONS, Right.SETTINGS, Right.PEOPLE},
    Role.INTEGRATOR: _LOOK | {Right.INTEGRATIONS, Right.FIELDS_WRITE},
    Role.VIEWER: _LOOK,
}


@dataclass(frozen=True, slots=True)
class User:
    """A person. `totp_secret` is empty without a second factor; an empty `language` is the browser's."""

    id: int
    email: str
    name: str
    password_hash: str
    totp_secret: str
    language: str
    theme: str
    created_at: datetime

    @property
    def origin(self) -> str:
        """What the events that this person causes say of it."""
        return f"user:{self.id}"


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in. `digest` stands for its token, which nobody stores."""

    digest: str
    user_id: int
    account_id: int
    created_at: datetime
    seen_at: datetime
    address: str
    agent: str


class LinkKind(StrEnum):
    """What a link that works once is for."""

    SETUP = "setup"
    """The first person of a new installation."""
    INVITATION = "invitation"
    PASSWORD = "password"  # noqa: S105 - the kind, not one
    """A new password for somebody who forgot it."""
    DEMO = "demo"
    """Into the demo's account, without a password."""
    CODE = "code"
    """Between the password and the second factor."""


LINK_LASTS: Mapping[LinkKind, timedelta] = {
    LinkKind.SETUP: timedelta(days=7),
    LinkKind.INVITATION: timedelta(days=7),
    LinkKind.PASSWORD: timedelta(hours=24),
    LinkKind.DEMO: timedelta(days=1),
    LinkKind.CODE: timedelta(minutes=10),
}


@dataclass(frozen=True, slots=True)
class OneTimeLink:
    """`account_id`, `role` and `sender` (0 for the command line) of an invitation; `email` of all but the first."""

    digest: str
    kind: LinkKind
    account_id: int
    email: str
    role: Role
    sender: int
    created_at: datetime
    expires_at: datetime
