"""Points: a lead's score, kept as a ledger of grants and deductions."""

from typing import Annotated

from cartwheel.api import wire
from cartwheel.api.registry import LeadCall, Scope, Whole, command
from cartwheel.leads.leadparts import Part

LONGEST_EXPIRATION_DAYS = 1_000_000


@command(
    scope=Scope.POINTS_WRITE, loads=Part.POINTS, success=wire.POINTS_GIVEN, example={"points": 5, "expiration": 30}
)
def give_points_to_lead(
    call: LeadCall,
    points: Annotated[int, Whole(empty=wire.POINTS_EMPTY_ON_GIVE, bad=wire.POINTS_NOT_NUMBER_ON_GIVE)],
    expiration: Annotated[int, Whole(bad=wire.EXPIRATION_NOT_NUMBER, most=LONGEST_EXPIRATION_DAYS)],
) -> None:
    """Add points to the lead's score, from 1 to 1,000,000,000.

    After `expiration` days of 24 hours exactly these points are taken back; with 0, or without it, they stay.
    """
    call.lead.grant(points, expiration, call.desk.now)


@command(scope=Scope.POINTS_WRITE, loads=Part.POINTS, success=wire.POINTS_REMOVED, example={"points": 2})
def remove_points_from_lead(
    call: LeadCall,
    points: Annotated[int, Whole(empty=wire.POINTS_EMPTY_ON_REMOVE, bad=wire.POINTS_NOT_NUMBER_ON_REMOVE)],
) -> None:
    """Take points from the lead's score, which may go below zero."""
    call.lead.deduct(points, call.desk.now)
