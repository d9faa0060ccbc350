"""Sending calls, and sending them again where that is safe."""

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpx

from cartwheel.client.trouble import NoAnswer

LONGEST_PAUSE_S = 30.0
FIRST_PAUSE_S = 0.25

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Transport:
    """One connection pool. `tries` is how often a call is made at most."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        tries: int,
        sleep: Callable[[float], None] = time.sleep,
        before: Callable[[], None] = lambda: None,
        longest_pause_s: float = LONGEST_PAUSE_S,
    ) -> None:
        """`before` is called before each try: it may wait until a call is in turn."""
        self._http = httpx.Client(base_url=url, headers=dict(headers), timeout=timeout_s)
        self._tries = max(1, tries)
        self._sleep = sleep
        self._before = before
        self._longest_pause_s = longest_pause_s

    def close(self) -> None:
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        safe: bool,
        query: Mapping[str, str] = {},
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
        readable: Callable[[httpx.Response], bool] = lambda _: True,
    ) -> httpx.Response:
        """The answer; `safe` says that doing it twice is as doing it once. Raises `NoAnswer`.

        Made again is what never left, or was refused because of too many calls, and if it is safe also what got no answer,
        one that says that the server failed, or one that is not `readable`.
        """
        for left in reversed(range(self._tries)):
            self._before()
            try:
                answer = self._http.request(method, path, params=dict(query), content=body, headers=dict(headers))
            except httpx.TransportError as error:
                never_left = isinstance(error, _NOT_SENT)
                if left and (safe or never_left):
                    self._sleep(self._pause(left))
                    continue
                raise NoAnswer(f"{method} {path}: {error}", done=False if never_left else None) from error
            too_many = answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
            failed = answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or not (too_many or readable(answer))
            if not left or not (too_many or (failed and safe)):
                return answer
            self._sleep(self._pause(left, answer.headers.get("retry-after", "")))
        raise AssertionError("unreachable: the last try returns or raises")

    def _pause(self, left: int, asked: str = "") -> float:
        if asked.isascii() and asked.isdigit() and len(asked) < 6:  # noqa: PLR2004 - digits
            return min(float(asked), self._longest_pause_s)
        return min(FIRST_PAUSE_S * 2.0 ** (self._tries - 1 - left), self._longest_pause_s)


class Caller:
    """Calls by a transport, which is closed with it: by `close`, or at the end of a `with`."""

    _transport: Transport

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()
