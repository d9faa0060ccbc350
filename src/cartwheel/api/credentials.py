"""API passwords: hashed with argon2 when they are stored, and checked without a hash when they were good before."""

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cartwheel.accounts import ApiKey
from cartwheel.errors import Overloaded

MOST_WAITING = 32
"""Passwords that wait for their hash, a second's worth of work; with one more, its sender is told to come again."""

_HASHER = PasswordHasher()


def new_secret() -> str:
    """A key or password that nobody can guess: 192 bits, letters and digits of URLs."""
    return secrets.token_urlsafe(24)


def hash_password(password: str) -> str:
    return _HASHER.hash(password)


def matches(password_hash: str, password: str) -> bool:
    """Takes some 30 ms and 64 MB, on purpose."""
    try:
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


class Passwords:
    """Remembers, under a secret that lives as long as the process, which passwords were found right or wrong."""

    MOST_REMEMBERED = 10_000

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[str, bytes] = OrderedDict()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._waiting = 0
        self._hasher = ThreadPoolExecutor(1, thread_name_prefix="argon2")
        """One hash at a time, and never on a thread that somebody else needs."""

    def close(self) -> None:
        self._hasher.shutdown(wait=False, cancel_futures=True)

    def known(self, key: ApiKey, password: str) -> bool | None:
        """Whether the password is right, or None if that would take a hash to tell."""
        mark = self._mark_of(key, password)
        if hmac.compare_digest(self._right.get(key.password_hash, b""), mark):
            return True
        return False if mark in self._wrong else None

    async def check(self, key: ApiKey, password: str) -> bool:
        """Whether the password is right, by its hash; raises `Overloaded` if too many wait for theirs already."""
        if self._waiting >= MOST_WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._hasher, matches, key.password_hash, password)
        finally:
            self._waiting -= 1
        mark = self._mark_of(key, password)
        if right:
            self._right[key.password_hash] = mark
        else:
            self._wrong[mark] = None
        for memory in (self._right, self._wrong):
            if len(memory) > self.MOST_REMEMBERED:
                memory.popitem(last=False)
        return right

    def mark(self, secret: str) -> bytes:
        """What stands for a secret in memory: tells nothing about it, and cannot be steered by who chooses it."""
        return hashlib.blake2b(secret.encode(), key=self._secret, digest_size=32).digest()

    def _mark_of(self, key: ApiKey, password: str) -> bytes:
        return self.mark(f"{key.password_hash}\0{password}")
