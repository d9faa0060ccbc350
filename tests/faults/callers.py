"""Integrations that call a server over keep-alive connections, and remember what they were told."""

import itertools
import json
import random
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple, Self

from realserver import API_KEY, API_PASSWORD, OPEN_APP, PACED_APP

from waiting import wait_until

ANSWER_S = 30


class Answer(NamedTuple):
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    body: Any
    seconds: float


class Lost(Exception):
    """The connection could not be made, or ended before the answer was complete."""


class Caller:
    """One keep-alive connection, made when it is first needed and anew when it was lost."""

    def __init__(self, port: int, app_id: str = OPEN_APP, *, answer_s: float = ANSWER_S) -> None:
        self._port = port
        self._answer_s = answer_s
        self._credentials = {"app_id": app_id, "api_key": API_KEY, "api_password": API_PASSWORD}
        self._socket: socket.socket | None = None

    def call(self, *actions: Mapping[str, Any], **parts: Any) -> Answer:
        """Raises `Lost`."""
        started = time.monotonic()
        self.send(*actions, **parts)
        return self.receive(started)

    def on(self, email: str, cmd: str, **parameters: Any) -> Answer:
        """One action on one lead."""
        return self.call({"cmd": cmd, **parameters}, lead={"email": email})

    def send(self, *actions: Mapping[str, Any], **parts: Any) -> None:
        """Raises `Lost`."""
        whole: dict[str, Any] = {**self._credentials, **parts}
        if actions:
            whole["actions"] = actions
        self.send_bytes(request(json.dumps(whole).encode()))

    def send_bytes(self, sent: bytes) -> None:
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=self._answer_s)
            self._socket.sendall(sent)
        except OSError as trouble:
            self.close()
            raise Lost(str(trouble)) from trouble

    @property
    def is_answered(self) -> bool:
        """Whether something has come that `receive` can read."""
        assert self._socket is not None
        return bool(select.select([self._socket], [], [], 0)[0])

    def receive(self, started: float) -> Answer:
        """The answer to what was sent; raises `Lost`."""
        assert self._socket is not None
        try:
            head, body = self._head(self._socket)
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            length = int(headers["content-length"])
            while len(body) < length:
                body += self._more(self._socket)
        except OSError as trouble:
            self.close()
            raise Lost(str(trouble)) from trouble
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(first.split(" ")[1]), headers, json.loads(body), time.monotonic() - started)

    def _head(self, connection: socket.socket) -> tuple[bytes, bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more(connection)
        head, _, body = received.partition(b"\r\n\r\n")
        return head, body

    def _more(self, connection: socket.socket) -> bytes:
        received = connection.recv(65536)
        if not received:
            raise ConnectionError("closed")
        return received

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@contextmanager
def many_callers(port: int, count: int) -> Iterator[list[Caller]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Caller(port)) for _ in range(count)]


def request(body: bytes, path: str = "/api") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


# -- what was tried --


class Outcome(Enum):
    """What a caller knows about its call."""

    UNANSWERED = auto()
    DONE = auto()
    FAILED = auto()
    """The answer was an error: the server's, not the caller's fault."""


@dataclass
class Attempt:
    """A call with several actions on one lead, told apart by its number from all others."""

    number: int
    email: str
    creates: bool
    customer: bool
    """Whether a call on an existing lead puts the tag on or takes it off."""
    outcome: Outcome = Outcome.UNANSWERED
    lead_id: int = 0

    @property
    def given(self) -> int:
        return 2 * self.number + 1

    @property
    def taken(self) -> int:
        return 2 * self.number + 2

    @property
    def actions(self) -> list[dict[str, Any]]:
        give = {"cmd": "give_points_to_lead", "points": self.given}
        if self.creates:
            return [
                {"cmd": "create_lead"},
                {"cmd": "assign_tag", "tag_name": "Trial user"},
                give,
                {"cmd": "subscribe_lead_to_list", "list_name": "Newsletter"},
            ]
        tag = {"cmd": "assign_tag" if self.customer else "unassign_tag", "tag_name": "Customer"}
        return [give, tag, {"cmd": "remove_points_from_lead", "points": self.taken}]

    def make(self, caller: Caller) -> Answer:
        """Call, and remember the outcome. Raises `Lost`."""
        answer = caller.call(*self.actions, lead={"email": self.email})
        self.note(answer)
        return answer

    def note(self, answer: Answer) -> None:
        """Understand the answer; one that nobody may get is an error of the test."""
        body = answer.body
        if answer.status == 200 and body["status"] == "Success":
            elements = [element for action in body["actions"] for element in action.values()]
            assert [element["status"] for element in elements] == ["Success"] * len(self.actions), body
            if self.creates:
                self.lead_id = int(elements[0]["lead_details"]["id"])
            self.outcome = Outcome.DONE
        else:
            assert (answer.status, body["status"], body["type"]) in {(200, "Error", "500"), (429, "Error", "429")}, body
            self.outcome = Outcome.FAILED


@dataclass
class Book:
    """Every attempt on one database, over any number of servers."""

    attempts: list[Attempt] = field(default_factory=list)
    pool: list[str] = field(default_factory=list)
    """Existing leads that calls are made on."""

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)

    def new(self) -> Attempt:
        """The making of one more lead."""
        number = next(self._numbers)
        return self._keep(Attempt(number, f"lead{number}@shop.example", creates=True, customer=False))

    def new_booking(self, email: str, *, customer: bool) -> Attempt:
        """One more call on an existing lead."""
        return self._keep(Attempt(next(self._numbers), email, creates=False, customer=customer))

    def any_new(self, rng: random.Random) -> Attempt:
        if self.pool and rng.random() < 0.6:
            return self.new_booking(rng.choice(self.pool), customer=rng.random() < 0.5)
        return self.new()

    def _keep(self, attempt: Attempt) -> Attempt:
        self.attempts.append(attempt)
        return attempt

    def fill_pool(self, port: int, count: int = 12) -> None:
        with Caller(port) as caller:
            for _ in range(count):
                attempt = self.new()
                attempt.make(caller)
                assert attempt.outcome is Outcome.DONE
                self.pool.append(attempt.email)

    def count(self, outcome: Outcome) -> int:
        return sum(attempt.outcome is outcome for attempt in self.attempts)


# -- load --


class Load:
    """Callers in threads, each with calls one after the other, until `stop` or, unless they are patient, until one
    is lost. A patient caller connects anew and goes on.
    """

    def __init__(self, book: Book, port: int, *, seed: str, callers: int = 6, patient: bool = False) -> None:
        self._book = book
        self._port = port
        self._patient = patient
        self._stopped = threading.Event()
        self.answers = 0
        """Answers of any kind."""
        self.done = 0
        self.failed = 0
        self.slowest_s = 0.0
        self.surprises: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}-{number}"), number), daemon=True)
            for number in range(callers)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, rng: random.Random, number: int) -> None:
        try:
            with Caller(self._port, PACED_APP if number == 0 else OPEN_APP) as caller:
                while not self._stopped.is_set():
                    if not self._call_once(caller, rng) and not self._patient:
                        return
        except BaseException as surprise:  # it would be lost with the thread: `stop` raises it
            self.surprises.append(surprise)

    def _call_once(self, caller: Caller, rng: random.Random) -> bool:
        attempt = self._book.any_new(rng)
        try:
            answer = attempt.make(caller)
        except Lost:
            self._stopped.wait(0.01)
            return False
        self.answers += 1
        self.done += attempt.outcome is Outcome.DONE
        self.failed += attempt.outcome is Outcome.FAILED
        self.slowest_s = max(self.slowest_s, answer.seconds)
        return True

    def wait_for(self, done: int = 0, *, failed: int = 0, seconds: float = 60) -> None:
        """So many more calls of a kind."""
        done, failed = self.done + done, self.failed + failed
        wait_until(
            lambda: bool(self.surprises) or (self.done >= done and self.failed >= failed),
            lambda: f"{done} done and {failed} failed calls; there are {self.done} and {self.failed}",
            seconds,
        )
        self._raise_surprise()

    def stop(self) -> None:
        """End every caller after its present call; raises what went wrong in one."""
        self._stopped.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(ANSWER_S + 5)
            assert not thread.is_alive(), "a caller waits for an answer for ever"
        self._raise_surprise()

    def _raise_surprise(self) -> None:
        if self.surprises:
            raise self.surprises[0]
