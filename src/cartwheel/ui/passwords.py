"""What people's passwords have to be, and their slow hashes, one at a time: each takes 64 MB."""

import threading

from cartwheel.api import credentials
from cartwheel.people import LONGEST_PASSWORD, SHORTEST_PASSWORD
from cartwheel.ui.visits import Visit

_ONE_AT_A_TIME = threading.Lock()

NOBODYS = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$5ahYbwS0vPzwVnLHzLVkxG2HsQz7rJ1kQm8Hn1Wb0mY"
"""Checked when there is no such person, so that the time of the answer does not tell."""


def hash_password(password: str) -> str:
    with _ONE_AT_A_TIME:
        return credentials.hash_password(password)


def matches(password_hash: str, password: str) -> bool:
    with _ONE_AT_A_TIME:
        return credentials.matches(password_hash, password[:LONGEST_PASSWORD])


def complaint(visit: Visit, password: str, email: str) -> str:
    """What is wrong with a new password, in the visitor's language; empty if it will do."""
    if len(password) < SHORTEST_PASSWORD:
        return visit._("At least %d characters, please: a few words make a good password.") % SHORTEST_PASSWORD
    if len(password) > LONGEST_PASSWORD:
        return visit._("At most %d characters, please.") % LONGEST_PASSWORD
    if len(set(password)) < 5 or password.lower() in {email, email.partition("@")[0]}:  # noqa: PLR2004 - `aaaaaaaaaa`
        return visit._("That would be guessed at once.")
    return ""
