"""Asking Kartra for leads: at a pace, on a few connections, again when something goes wrong."""

import math
import queue
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from cartwheel.api import wire
from cartwheel.client.kartra import KartraClient
from cartwheel.client.trouble import KartraError, NoAnswer
from cartwheel.errors import CartwheelError
from cartwheel.imports.deciding import Refused
from cartwheel.phrases import phrase

MOST_CONNECTIONS = 16
TRIES = 8
"""With growing pauses between them, half a minute all in all."""

LONGEST_PAUSE_S = 300.0


class Stopped(CartwheelError):
    """Kartra does not let us go on, or does not answer at all."""


class Pace:
    """So many calls a second at the most, whoever makes them. A pause is one for all."""

    def __init__(self, rate: float) -> None:
        self._between = 1 / rate
        self._next = 0.0
        self._lock = threading.Lock()

    def turn(self) -> None:
        """Waits until it is one's turn."""
        with self._lock:
            mine = max(self._next, time.monotonic())
            self._next = mine + self._between
        while (left := mine - time.monotonic()) > 0:
            time.sleep(left)

    def rest(self, seconds: float) -> None:
        """Nobody begins a call before that."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def new_client(url: str, credentials: Mapping[str, str], rate: float, timeout_s: float) -> KartraClient:
    pace = Pace(rate)
    return KartraClient(
        url,
        app_id=credentials["app_id"],
        api_key=credentials["api_key"],
        api_password=credentials["api_password"],
        timeout_s=timeout_s,
        tries=TRIES,
        before=pace.turn,
        sleep=pace.rest,
        longest_pause_s=LONGEST_PAUSE_S,
    )


def ask(client: KartraClient, email: str) -> dict[str, Any]:
    """What there is of the lead. Raises `Refused` if it cannot be moved, `Stopped` if no other could be either."""
    try:
        found = client.get_lead(email=email)
    except KartraError as error:
        if error.type == wire.LEAD_DELETED.type:
            raise Refused(phrase("the lead is deleted at Kartra")) from None
        if error.type == wire.EMAIL_NOT_VALID.type:
            raise Refused(phrase("Kartra takes it for no address: {told}", told=error.message[:100])) from None
        if error.type != wire.SERVER_ERROR.type:
            raise Stopped(f"Kartra refuses: {error.message}") from None
        _see_that_it_answers(client)
        raise Refused(phrase("Kartra failed on it, {tries} times", tries=TRIES)) from None
    except NoAnswer:
        _see_that_it_answers(client)
        raise Refused(phrase("no answer came from Kartra, {tries} times", tries=TRIES)) from None
    if found is None:
        raise Refused(phrase("Kartra has no lead with this address"))
    return found


def _see_that_it_answers(client: KartraClient) -> None:
    """Before one lead is given up: the others might be as well. Raises `Stopped`."""
    try:
        client.retrieve_account_lists()
    except (KartraError, NoAnswer) as error:
        raise Stopped(f"Kartra does not answer: {error}") from None


class Fetcher:
    """Asks for several leads at a time. Its threads end with the process, whatever they wait for."""

    def __init__(self, client: KartraClient, rate: float) -> None:
        self._client = client
        self._waiting: queue.SimpleQueue[tuple[str, Future[dict[str, Any]]] | None] = queue.SimpleQueue()
        self._connections = min(MOST_CONNECTIONS, math.ceil(rate))
        for _ in range(self._connections):
            threading.Thread(target=self._work, name="fetcher", daemon=True).start()

    def close(self) -> None:
        """What is under way comes to its end, and nobody waits for that."""
        for _ in range(self._connections):
            self._waiting.put(None)

    def ask(self, email: str) -> "Future[dict[str, Any]]":
        future: Future[dict[str, Any]] = Future()
        self._waiting.put((email, future))
        return future

    def _work(self) -> None:
        while (asked := self._waiting.get()) is not None:
            email, future = asked
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(ask(self._client, email))
            except Exception as error:  # whoever waits for it has to know
                future.set_exception(error)
