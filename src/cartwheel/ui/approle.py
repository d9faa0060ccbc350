"""What somebody may let an App do: no more than their own role may."""

from collections.abc import Iterable

from cartwheel.accounts import EVERY_COMMAND, App
from cartwheel.api.commands import COMMANDS
from cartwheel.api.registry import Scope
from cartwheel.people import RIGHTS, Right, Role


def scopes_of(role: Role) -> frozenset[Scope]:
    """Those of the role's rights that an App can have, too."""
    return frozenset(scope for scope in Scope if Right(scope) in RIGHTS[role])


def may_grant(role: Role, commands: Iterable[str] | None) -> bool:
    """Whether the role has the scopes of all these commands and scopes; None is every command."""
    if commands is None or EVERY_COMMAND in (named := set(commands)):
        return scopes_of(role) == set(Scope)
    return {COMMANDS[name].scope if name in COMMANDS else Scope(name) for name in named} <= scopes_of(role)


def may_hold_key(role: Role, apps: Iterable[App]) -> bool:
    """Whether the role may see the account's key: with it, everybody calls as any of these Apps."""
    return all(may_grant(role, app.commands) for app in apps if app.active)
