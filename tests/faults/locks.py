"""Somebody else's transaction that keeps the server from writing."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from cartwheel.data.db import Database


@contextmanager
def locked(url: str) -> Iterator[None]:
    """While this lasts, every call that touches a lead waits; it ends without a change."""
    path = Database(url).path
    if path is not None:
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
        other.close()
    else:
        with psycopg.connect(url) as postgresql:
            postgresql.execute("LOCK TABLE leads IN EXCLUSIVE MODE")
            yield
            postgresql.rollback()
