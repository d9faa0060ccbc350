"""Where the pages of an account are found: followed from link to link, and from form to form."""

import re
from collections.abc import Iterable
from html import unescape

from cast import Person

Door = tuple[str, bool]
"""A page's path, and whether it is a POST."""

_LINKS = re.compile(r' (?:href|src|hx-get)="(/[^"#]*)"')
_FORMS = re.compile(r' (?:action|formaction|hx-post)="(/[^"#]*)"')


def found(boss: Person, doors: Iterable[Door]) -> dict[Door, str]:
    """An address of each page that somebody can come to; each page is followed once, and no form is sent."""
    doors = [door for door in doors if "{token}" not in door[0]]
    patterns = {door: re.compile(re.sub(r"\{[^}]*\}", "[^/?]+", door[0])) for door in doors}
    addresses = {door: door[0] for door in doors if "{" not in door[0]}
    ahead = [address for (_, post), address in addresses.items() if not post]
    while ahead:
        text = boss.get(ahead.pop()).text
        there = [(link, False) for link in _LINKS.findall(text)] + [(link, True) for link in _FORMS.findall(text)]
        for link, post in ((unescape(link), post) for link, post in there):
            bare = link.partition("?")[0]
            for door, pattern in patterns.items():
                known = door in addresses or (bare, post) in ((at, door[1]) for door, at in addresses.items())
                if door[1] is post and not known and pattern.fullmatch(bare):
                    addresses[door] = link
                    if not post:
                        ahead.append(link)
    return addresses
