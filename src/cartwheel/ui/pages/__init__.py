"""The pages, one module an entry of the menu. Importing this package fills `PAGES`."""

from cartwheel.ui.pages import audit, dashboard, domains, firstrun, lists, people, profile, servers, settings, signin
from cartwheel.ui.registry import PAGES

__all__ = [
    "PAGES",
    "audit",
    "dashboard",
    "domains",
    "firstrun",
    "lists",
    "people",
    "profile",
    "servers",
    "settings",
    "signin",
]
