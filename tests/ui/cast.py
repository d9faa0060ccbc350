"""People of an account in front of its pages: with a role, a session, and forms that they really got."""

import itertools
from dataclasses import dataclass
from typing import Any, Self

import httpx

from cartwheel.api import credentials
from cartwheel.data import userstore
from cartwheel.people import Role
from cartwheel.ui import forgery, site
from harness import Api

PASSWORD = "correct horse battery"

_NUMBERS = itertools.count(1)


@dataclass
class Person:
    """Somebody who is signed in: a browser without its screen."""

    email: str
    user_id: int
    cookie: str
    http: httpx.Client

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._keep(self.http.get(path, headers=headers))

    def post(self, path: str, **fields: Any) -> httpx.Response:
        """The form with its token, as the page has it."""
        return self._keep(self.http.post(path, data={"csrf": forgery.token(self.cookie), **fields}))

    def _keep(self, answer: httpx.Response) -> httpx.Response:
        """The new cookie instead of the old one, if the answer has one."""
        if cookie := answer.cookies.get(site.cookie_name(str(self.http.base_url))):
            self.cookie = cookie
            self.http.cookies.clear()
            self.http.cookies.set(site.cookie_name(str(self.http.base_url)), cookie)
        return answer


class Cast:
    """Makes people, and closes their browsers in the end."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._open: list[httpx.Client] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for http in self._open:
            http.close()

    def person(self, role: Role, api: Api | None = None) -> Person:
        """A new member of the account, or of another."""
        api = api or self.api
        server, number = api.server, next(_NUMBERS)
        email, now = f"{role}{number}@shop.example", server.clock()
        with server.database.write() as connection:
            user = userstore.add(
                connection, email, f"{role} {number}".title(), credentials.hash_password(PASSWORD), now
            )
            userstore.put_member(connection, api.account_id, user.id, role, now)
            cookie = userstore.open_session(connection, user.id, api.account_id, now, "127.0.0.1", "tests")
        http = self.visitor()
        http.cookies.set(site.cookie_name(self.api.server.url), cookie)
        return Person(email, user.id, cookie, http)

    def visitor(self, address: str = "") -> httpx.Client:
        """Somebody who is not signed in, at this address of the machine."""
        way = httpx.HTTPTransport(local_address=address or None, verify=False)  # reading certificates takes 40 ms
        http = httpx.Client(base_url=self.api.server.url, timeout=30, transport=way)
        self._open.append(http)
        return http
