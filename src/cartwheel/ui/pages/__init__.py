"""The pages, one module an entry of the menu. Importing this package fills `PAGES`."""

from cartwheel.ui.pages import bulk, dashboard, demodoor, fields, firstrun, lead, leads, lists, signin, tags
from cartwheel.ui.registry import PAGES

__all__ = ["PAGES", "bulk", "dashboard", "demodoor", "fields", "firstrun", "lead", "leads", "lists", "signin", "tags"]
