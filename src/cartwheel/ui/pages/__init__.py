"""The pages, one module an entry of the menu. Importing this package fills `PAGES`."""

from cartwheel.ui.pages import dashboard, firstrun, lists, mail, mailbox, signin, suppressions
from cartwheel.ui.registry import PAGES

__all__ = ["PAGES", "dashboard", "firstrun", "lists", "mail", "mailbox", "signin", "suppressions"]
