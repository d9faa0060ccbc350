"""The pages, one module an entry of the menu. Importing this package fills `PAGES`."""

from cartwheel.ui.pages import bulk, dashboard, firstrun, lead, leads, lists, signin
from cartwheel.ui.registry import PAGES

__all__ = ["PAGES", "bulk", "dashboard", "firstrun", "lead", "leads", "lists", "signin"]
