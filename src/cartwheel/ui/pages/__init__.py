"""The pages, one module an entry of the menu. Importing this package fills `PAGES`."""

from cartwheel.ui.pages import (
    audit,
    bulk,
    dashboard,
    demodoor,
    domains,
    fields,
    firstrun,
    lead,
    leads,
    lists,
    people,
    profile,
    servers,
    settings,
    signin,
    tags,
)
from cartwheel.ui.registry import PAGES

__all__ = [
    "PAGES",
    "audit",
    "bulk",
    "dashboard",
    "demodoor",
    "domains",
    "fields",
    "firstrun",
    "lead",
    "leads",
    "lists",
    "people",
    "profile",
    "servers",
    "settings",
    "signin",
    "tags",
]
