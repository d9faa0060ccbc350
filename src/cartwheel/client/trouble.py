"""What can go wrong for a caller, one exception a reason to act differently."""

from cartwheel.rest.records import ProblemPlace, ProblemRecord


class ClientError(Exception):
    """Root of everything that the client raises on purpose."""


class NoAnswer(ClientError):
    """No answer came. `done` is False if nothing was done for sure, None if nobody can tell."""

    def __init__(self, text: str, *, done: bool | None) -> None:
        super().__init__(text)
        self.done = done


class Refused(ClientError):
    """/v1 has said why not."""

    def __init__(self, problem: ProblemRecord) -> None:
        super().__init__(problem.detail)
        self.problem = problem

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def type(self) -> str:
        """The problem's, `urn:cartwheel:problem:name-taken`: for programs."""
        return self.problem.type

    @property
    def request_id(self) -> str:
        """As the server's log has it."""
        return self.problem.request_id

    @property
    def errors(self) -> list[ProblemPlace]:
        return self.problem.errors


class NotAllowed(Refused):
    """The token is not good, or may not do this."""


class NotFound(Refused):
    """The account has no such thing."""


class Conflict(Refused):
    """What is there stands against it: a name that is taken, a lead that was deleted."""


class NotValid(Refused):
    """What was sent makes no sense."""


class TooMany(Refused):
    """Too many calls, also after waiting."""


class ServerFailed(Refused):
    """The server could not do it."""


_KINDS = {401: NotAllowed, 403: NotAllowed, 404: NotFound, 409: Conflict, 429: TooMany}
_SERVER = 500


def refused(problem: ProblemRecord) -> Refused:
    usual = ServerFailed if problem.status >= _SERVER else NotValid
    return _KINDS.get(problem.status, usual)(problem)


class KartraError(ClientError):
    """Kartra's API has answered with an error: its message and number, and which command it is about."""

    def __init__(self, message: str, type_: str, cmd: str = "") -> None:
        super().__init__(f"{cmd}: {message}" if cmd else message)
        self.message = message
        self.type = type_
        self.cmd = cmd
