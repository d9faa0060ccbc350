"""The client: `Client` for /v1, `KartraClient` for Kartra's API, be it Cartwheel's or Kartra's own.

from cartwheel.client import Client, LeadChange

with Client("https://cartwheel.example", token) as cartwheel:
    cartwheel.upsert_lead(LeadChange(email="ada@shop.example", add_tags=["Customer"]))
"""

from cartwheel.client.kartra import KartraClient
from cartwheel.client.modern import Client
from cartwheel.client.trouble import (
    ClientError,
    Conflict,
    KartraError,
    NoAnswer,
    NotAllowed,
    NotFound,
    NotValid,
    Refused,
    ServerFailed,
    TooMany,
)
from cartwheel.rest.records import (
    BulkChange,
    FieldChange,
    LeadChange,
    ListChange,
    NewField,
    NewList,
    NewSuppression,
    NewTag,
    SequenceText,
    Start,
)

__all__ = [
    "BulkChange",
    "Client",
    "ClientError",
    "Conflict",
    "FieldChange",
    "KartraClient",
    "KartraError",
    "LeadChange",
    "ListChange",
    "NewField",
    "NewList",
    "NewSuppression",
    "NewTag",
    "NoAnswer",
    "NotAllowed",
    "NotFound",
    "NotValid",
    "Refused",
    "SequenceText",
    "ServerFailed",
    "Start",
    "TooMany",
]
