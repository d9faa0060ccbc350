"""Mailing lists: what a lead has subscribed to, and can see and leave."""

from typing import Annotated, Any

from cartwheel.api import wire
from cartwheel.api.registry import AccountCall, LeadCall, Name, Scope, command
from cartwheel.errors import ListNotFound
from cartwheel.leads.leadparts import Part


@command(scope=Scope.ACCOUNT_READ, success=None, result={"account_lists": list[str]})
def retrieve_account_lists(call: AccountCall) -> dict[str, Any]:
    """The names of all mailing lists in the account."""
    return {"account_lists": [entry.name for entry in call.account.lists.values()]}


@command(
    scope=Scope.LISTS_WRITE,
    loads=Part.LISTS,
    success=wire.LIST_JOINED,
    errors={ListNotFound: wire.LIST_UNKNOWN_ON_SUBSCRIBE},
    example={"list_name": "Newsletter"},
)
def subscribe_lead_to_list(call: LeadCall, list_name: Annotated[str, Name(empty=wire.LIST_EMPTY_ON_SUBSCRIBE)]) -> None:
    """Put the lead on an existing list. If it is on the list already, nothing happens."""
    call.lead.join(call.account.list_named(list_name).id, call.desk.now)


@command(
    scope=Scope.LISTS_WRITE,
    loads=Part.LISTS,
    success=wire.LIST_LEFT,
    errors={ListNotFound: wire.LIST_UNKNOWN_ON_UNSUBSCRIBE},
    example={"list_name": "Newsletter"},
)
def unsubscribe_lead_from_list(
    call: LeadCall, list_name: Annotated[str, Name(empty=wire.LIST_EMPTY_ON_UNSUBSCRIBE)]
) -> None:
    """Take the lead off a list; `get_lead` shows the list as inactive. If it was not on it, nothing happens."""
    call.lead.leave(call.account.list_named(list_name).id, call.desk.now)
