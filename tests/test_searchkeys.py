# ruff: noqa: RUF001 - letters that look alike are what this is about
"""The form in which people are looked for."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartwheel.leads.searchkeys import LONGEST_KEY, search_key

SAME = [
    ("José", "JOSE"),
    ("Müller", "MU\u0308LLER"),
    ("Łódź", "lodz"),
    ("Weiß", "WEISS"),
    ("Sørensen", "sorensen"),
    ("IŞIK", "ışık"),
    ("İpek", "ipek"),
    ("O’Brien", "o'brien"),
    ("ΑΛΈΞΑΝΔΡΟΣ", "αλεξανδρος"),
    ("ФЁДОР", "федор"),
    ("أحمد", "احمد"),
    ("Ｍａｒｉａ", "maria"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_ways_to_write_a_name_have_one_key(one: str, other: str) -> None:
    assert search_key(one) == search_key(other)


def test_every_letter_has_the_key_of_its_capital() -> None:
    letters = [chr(number) for number in range(sys.maxunicode + 1) if unicodedata.category(chr(number))[0] == "L"]
    assert [each for each in letters if search_key(each.upper()) != search_key(each)] == []


@given(st.text(max_size=300))
def test_a_key_is_its_own_key_and_no_text_is_without_one(text: str) -> None:
    key = search_key(text)
    assert search_key(key) == key
    assert len(key) <= LONGEST_KEY
    assert bool(key) == bool(text)
