"""The pages, one module an entry of the menu. Importing this package fills `PAGES`."""

from cartwheel.ui.pages import dashboard, drafts, firstrun, lists, sequences, signin, trying
from cartwheel.ui.registry import PAGES

__all__ = ["PAGES", "dashboard", "drafts", "firstrun", "lists", "sequences", "signin", "trying"]
