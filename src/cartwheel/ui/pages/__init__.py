"""The pages, one module an entry of the menu. Importing this package fills `PAGES`."""

from cartwheel.ui.pages import dashboard, demodoor, fields, firstrun, lists, signin, tags
from cartwheel.ui.registry import PAGES

__all__ = ["PAGES", "dashboard", "demodoor", "fields", "firstrun", "lists", "signin", "tags"]
