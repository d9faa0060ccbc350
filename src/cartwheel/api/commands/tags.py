"""Tags: labels that people in the account put on leads."""

from typing import Annotated, Any

from cartwheel.api import wire
from cartwheel.api.registry import AccountCall, LeadCall, Name, Scope, command
from cartwheel.errors import TagNotFound
from cartwheel.leads.leadparts import Part


@command(scope=Scope.ACCOUNT_READ, success=None, result={"account_tags": list[str]})
def retrieve_account_tags(call: AccountCall) -> dict[str, Any]:
    """The names of all tags in the account."""
    return {"account_tags": [tag.name for tag in call.account.tags.values()]}


@command(
    scope=Scope.TAGS_WRITE,
    loads=Part.TAGS,
    success=wire.TAG_ASSIGNED,
    errors={TagNotFound: wire.TAG_UNKNOWN_ON_ASSIGN},
    example={"tag_name": "Trial user"},
)
def assign_tag(call: LeadCall, tag_name: Annotated[str, Name(empty=wire.TAG_EMPTY_ON_ASSIGN)]) -> None:
    """Put an existing tag on the lead. If the lead has it already, nothing happens."""
    call.lead.tag(call.account.tag_named(tag_name).id)


@command(
    scope=Scope.TAGS_WRITE,
    loads=Part.TAGS,
    success=wire.TAG_UNASSIGNED,
    errors={TagNotFound: wire.TAG_UNKNOWN_ON_UNASSIGN},
    example={"tag_name": "Trial user"},
)
def unassign_tag(call: LeadCall, tag_name: Annotated[str, Name(empty=wire.TAG_EMPTY_ON_UNASSIGN)]) -> None:
    """Take a tag off the lead. If the lead does not have it, nothing happens."""
    call.lead.untag(call.account.tag_named(tag_name).id)
