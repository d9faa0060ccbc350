"""What people do with webhooks on the page and the command line."""

from datetime import datetime

from cartwheel.accounts import Account
from cartwheel.data import hookstore
from cartwheel.data.db import Database
from cartwheel.hooks import envelope
from cartwheel.hooks.outbound import Endpoint
from cartwheel.times import to_micros


def send_test(database: Database, account: Account, endpoint: Endpoint, action: str, now: datetime) -> str:
    """Queue an event that did not happen, for the worker to send; returns the token of its delivery."""
    body = envelope.trial_body(account, endpoint, action, now)
    key = (account.id, envelope.TEST_LEAD, to_micros(now), endpoint.id)
    with database.write() as connection:
        hookstore.queue(connection, key, action, body, now)
    return f"{key[1]}-{key[2]}"
