"""What a page is. A page is one function with `@page`, and a template; everything else about it is derived.

    @page("/communication/lists", menu="lists", right=Right.ACCOUNT_READ)
    def show_lists(visit: Visit) -> Answer:
        return visit.show("lists.html", lists=…)

    @page("/communication/lists/add", post=True, menu="lists", right=Right.LISTS_WRITE)
    def add_list(visit: Visit) -> Answer:
        \"\"\"Made a list.\"\"\"
        …
        visit.about(name)
        return visit.redirect("/communication/lists", visit._("The list is there."))

Functions run on a thread of their own. What changes anything is `post`: it needs the form's token, and what it does goes
into the audit log under the first line of its docstring, with what it was `about`. The tests that open each page as each
role, and with another account's objects, read this table.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cartwheel.people import Right
from cartwheel.ui.menu import NAMES
from cartwheel.ui.visits import Answer, Visit

Function = Callable[[Visit], Answer]


@dataclass(frozen=True, slots=True)
class Page:
    """`right` is None for pages of people who are not signed in; `any_member` needs no right but to be signed in."""

    path: str
    function: Function
    menu: str
    right: Right | None
    post: bool
    open: bool
    largest: int
    """How many bytes a form may have."""
    quiet: bool = False
    """It changes nothing, although it is a POST: the audit log says nothing of it."""
    loose_look: bool = False
    """What it loads draws with styles and pictures from anywhere; scripts are still only ours."""

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def does(self) -> str:
        """What the audit log says that somebody did."""
        return (self.function.__doc__ or self.name).splitlines()[0].rstrip(".")


PAGES: dict[tuple[str, bool], Page] = {}
"""By path, and whether it is a POST."""

LARGEST_FORM = 1 << 20


def page(
    path: str,
    *,
    menu: str = "",
    right: Right | None = None,
    post: bool = False,
    open: bool = False,  # noqa: A002 - the word for it
    largest: int = LARGEST_FORM,
    quiet: bool = False,
    loose_look: bool = False,
) -> Callable[[Function], Function]:
    """`open` pages are for people who are not signed in; others need a session, and the `right` if one is given.

    `quiet` POSTs only show what was sent, such as a preview: they change nothing.
    `loose_look` is for an editor from a library that cannot draw without styles of its own.
    """

    def put(function: Function) -> Function:
        assert menu in NAMES, menu
        assert (path, post) not in PAGES, path
        PAGES[path, post] = Page(path, function, menu, right, post, open, largest, quiet, loose_look)
        return function

    return put
