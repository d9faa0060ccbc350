"""What can go wrong with a call of /v1: one row a problem, told as RFC 9457 has it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

from cartwheel.emails import EmailNotValid
from cartwheel.errors import (
    AccountFull,
    BadAccountFile,
    CartwheelError,
    FieldExists,
    FieldNameNotAllowed,
    LeadExists,
    LeadIsDeleted,
    LeadNotFound,
    ListNotFound,
    NameTaken,
    NameTooLong,
    NoSuchName,
    OptionEmpty,
    OptionsTooFew,
    Overloaded,
    SequenceNotFound,
    StepNotAlphanumeric,
    StepNotFound,
    TagNotFound,
    Unavailable,
    WrongFieldFormat,
)
from cartwheel.leads.filters import BadFilter

MEDIA_TYPE = "application/problem+json"

_TYPE = "urn:cartwheel:problem:"


class Problem(NamedTuple):
    """A kind of problem. What is wrong in a single case, its `detail` says."""

    name: str
    status: HTTPStatus
    title: str

    @property
    def type(self) -> str:
        return _TYPE + self.name


NOT_UNDERSTOOD = Problem("not-understood", HTTPStatus.BAD_REQUEST, "The request cannot be read")
NO_TOKEN = Problem("no-token", HTTPStatus.UNAUTHORIZED, "No token that is good was shown")
NOT_SECURE = Problem("not-secure", HTTPStatus.FORBIDDEN, "Calls come by https only")
SCOPE_MISSING = Problem("scope-missing", HTTPStatus.FORBIDDEN, "The token may not do this")
NO_SUCH_PATH = Problem("no-such-path", HTTPStatus.NOT_FOUND, "There is nothing at this address")
NOT_THERE = Problem("not-there", HTTPStatus.NOT_FOUND, "The account has no such thing")
METHOD_WRONG = Problem("method-wrong", HTTPStatus.METHOD_NOT_ALLOWED, "The address does not take this method")
TOO_SLOW = Problem("too-slow", HTTPStatus.REQUEST_TIMEOUT, "The body did not arrive in time")
NAME_TAKEN = Problem("name-taken", HTTPStatus.CONFLICT, "Another has this name already")
ADDRESS_TAKEN = Problem("address-taken", HTTPStatus.CONFLICT, "Another lead has this e-mail address")
LEAD_DELETED = Problem("lead-deleted", HTTPStatus.CONFLICT, "The lead was deleted")
IN_USE = Problem("in-use", HTTPStatus.CONFLICT, "Steps of sequences call it by its name")
ACCOUNT_FULL = Problem("account-full", HTTPStatus.CONFLICT, "The account would hold more than it may")
SAID_BY_PERSON = Problem("said-by-person", HTTPStatus.CONFLICT, "The person wanted no mail")
TOO_LARGE = Problem("too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large")
NOT_JSON = Problem("not-json", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body has to be JSON")
INVALID = Problem("invalid", HTTPStatus.UNPROCESSABLE_ENTITY, "What was sent makes no sense")
UNKNOWN_NAME = Problem(
    "unknown-name", HTTPStatus.UNPROCESSABLE_ENTITY, "What was sent names something that is not there"
)
CANNOT_RUN = Problem("cannot-run", HTTPStatus.UNPROCESSABLE_ENTITY, "The sequence cannot run like this")
KEY_REUSED = Problem("key-reused", HTTPStatus.UNPROCESSABLE_ENTITY, "The Idempotency-Key came with another call before")
TOO_MANY = Problem("too-many", HTTPStatus.TOO_MANY_REQUESTS, "Too many calls")
FAILED = Problem("failed", HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed")
BUSY = Problem("busy", HTTPStatus.SERVICE_UNAVAILABLE, "The server cannot do this at the moment")

PROBLEMS = tuple(one for one in list(globals().values()) if isinstance(one, Problem))

EVERYWHERE = (NOT_UNDERSTOOD, NO_TOKEN, NOT_SECURE, SCOPE_MISSING, INVALID, TOO_MANY, FAILED, BUSY)
"""What any call may be answered."""

WITH_BODY = (TOO_SLOW, TOO_LARGE, NOT_JSON)

OF_ERROR: Mapping[type[Exception], Problem] = {
    NameTaken: NAME_TAKEN,
    FieldExists: NAME_TAKEN,
    LeadExists: ADDRESS_TAKEN,
    LeadIsDeleted: LEAD_DELETED,
    LeadNotFound: NOT_THERE,
    NoSuchName: NOT_THERE,
    AccountFull: ACCOUNT_FULL,
    ListNotFound: UNKNOWN_NAME,
    TagNotFound: UNKNOWN_NAME,
    SequenceNotFound: UNKNOWN_NAME,
    StepNotFound: UNKNOWN_NAME,
    StepNotAlphanumeric: UNKNOWN_NAME,
    WrongFieldFormat: INVALID,
    FieldNameNotAllowed: INVALID,
    OptionsTooFew: INVALID,
    OptionEmpty: INVALID,
    NameTooLong: INVALID,
    BadAccountFile: INVALID,
    BadFilter: INVALID,
    EmailNotValid: INVALID,
    Overloaded: BUSY,
    Unavailable: BUSY,
}


class Refusal(CartwheelError):
    """A call is refused; `headers` come with the answer, `places` say what is wrong where."""

    def __init__(
        self,
        problem: Problem,
        detail: str = "",
        *,
        headers: Mapping[str, str] = {},
        places: Mapping[str, str] = {},
    ) -> None:
        super().__init__(detail or problem.title)
        self.problem = problem
        self.detail = detail or f"{problem.title}."
        self.headers = headers
        self.places = places

    def as_data(self, request_id: str) -> dict[str, object]:
        """RFC 9457's object. `errors` point into what was sent."""
        errors = [{"pointer": place, "detail": text} for place, text in self.places.items()]
        return {
            "type": self.problem.type,
            "title": self.problem.title,
            "status": self.problem.status.value,
            "detail": self.detail,
            "request_id": request_id,
            **({"errors": errors} if errors else {}),
        }


def refusal_of(error: CartwheelError | ValueError) -> Refusal | None:
    """How /v1 tells of an error; None for one that nobody expected."""
    if isinstance(error, Refusal):
        return error
    problem = next((OF_ERROR[kind] for kind in type(error).__mro__ if kind in OF_ERROR), None)
    if problem is None:
        return None
    if isinstance(error, Unavailable):  # what it says of the database is for the operator
        return Refusal(problem, "The database cannot be used.", headers={"Retry-After": "1"})
    return Refusal(problem, str(error), headers={"Retry-After": "1"} if problem is BUSY else {})
