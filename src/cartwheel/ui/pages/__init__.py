"""The pages, one module an entry of the menu. Importing this package fills `PAGES`."""

from cartwheel.ui.pages import apps, calls, dashboard, explorer, firstrun, keys, lists, signin
from cartwheel.ui.registry import PAGES

__all__ = ["PAGES", "apps", "calls", "dashboard", "explorer", "firstrun", "keys", "lists", "signin"]
