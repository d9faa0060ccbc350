"""The merge language: what is a field, what stays as it is, and that a value is never read again."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartwheel.mail.merge import MERGE_NAMES, Cover, Field, Template

quick = settings(max_examples=100, derandomize=True, deadline=None, database=None)

ADA = {"first_name": "Ada", "company": "", "favourite-colour_2": "blue"}

PIECES = st.sampled_from(
    ["{", "}", "{{", "}}", "|", "first_name", "x", " ", "\n", "é", ":", "{first_name}", "{x|y}", "q0merge1q"]
)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("Hello {first_name}", "Hello Ada"),
        ("{first_name}{first_name}", "AdaAda"),
        ("{favourite-colour_2}", "blue"),
        ("{first_name|there}", "Ada"),
        ("at {company|your company}", "at your company"),
        ("at {company}.", "at ."),
        ("{company|}", ""),
        ("{company|a | b}", "a | b"),
    ],
)
def test_a_field_becomes_the_value_or_its_fallback(text: str, filled: str) -> None:
    assert Template.parse(text).fill(ADA) == filled


@pytest.mark.parametrize("blank", ["", " ", "\t \n", "\0", "\u202e", "\u2028"])
def test_a_value_that_shows_nothing_is_blank(blank: str) -> None:
    assert Template.parse("Hello {first_name|there}").fill({"first_name": blank}) == "Hello there"


@pytest.mark.parametrize(
    "text",
    [
        "p{color:red}",
        "p { color: red }",
        "a{}b{ }",
        "{first name}",
        "{first_name",
        "first_name}",
        "{first.name}",
        "{first_name|a{ }",
        "{first_name|a\nb}",
        "{größe}",
        "{first_name()}",
        "@media (max-width: 9px){a{b:c}}",
        "{ first_name }",
        "{|x}",
    ],
)
def test_braces_without_a_name_stay(text: str) -> None:
    template = Template.parse(text)
    assert (template.fill(ADA), template.names) == (text, frozenset())


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{first_name}}", "{first_name}"),
        ("{{first_name|there}}", "{first_name|there}"),
        ("{{{first_name}}}", "{{first_name}}"),
        ("{{nobody}}", "{nobody}"),
        ("{{first name}}", "{{first name}}"),
        ("{{first_name}", "{Ada"),
    ],
)
def test_double_braces_are_single_ones_to_be_read(text: str, filled: str) -> None:
    assert Template.parse(text).fill(ADA) == filled


def test_an_unknown_name_is_reported_once_and_stays_as_typed() -> None:
    template = Template.parse("{frist_name|you} {first_name} {b} {frist_name}")
    assert template.unknown(ADA) == ["frist_name", "b"]
    assert template.names == {"frist_name", "first_name", "b"}
    assert template.fill(ADA) == "{frist_name|you} Ada {b} {frist_name}"


def test_a_value_is_escaped_for_the_place_and_the_text_around_it_is_not() -> None:
    assert Template.parse("a{first_name}a{company|a}").fill(ADA, str.upper) == "aADAaA"


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("a\0b\x1bc\x7fd\x85e", "abcde"),
        ("a\u202eb\u2066c", "abc"),
        ("a\ud800b", "ab"),
        ("a\u2028b", "a\nb"),
        ("عربي 👩‍👩‍👧", "عربي 👩‍👩‍👧"),
        ("a\tb", "a\tb"),
    ],
)
def test_control_characters_of_a_value_are_left_out(value: str, cleaned: str) -> None:
    assert Template.parse("{x}").fill({"x": value}) == cleaned


@quick
@given(TEXTS)
def test_constants_and_fields_take_turns_and_nothing_is_lost(text: str) -> None:
    template = Template.parse(text)
    assert len(template.constants) == len(template.fields) + 1
    assert template.fill({}) == re.sub(r"\{\{([A-Za-z0-9_-]+(?:\|[^{}\r\n]*)?)\}\}", r"{\1}", text)


@quick
@given(TEXTS, TEXTS.filter(lambda value: value.isprintable() and value.strip()))
def test_a_value_is_never_read_as_a_template(text: str, value: str) -> None:
    """It lands as it is wherever a mark that nothing else can be would have landed."""
    template = Template.parse(text)
    names = dict.fromkeys(template.names, value)
    assert template.fill(names) == template.fill(dict.fromkeys(names, "\U0010fff0")).replace("\U0010fff0", value)


def test_the_names_that_every_account_knows_are_names() -> None:
    names = [row.name for row in MERGE_NAMES]
    assert Template.parse("".join(f"{{{name}}}" for name in names)).unknown(names) == []
    assert len(set(names)) == len(names)
    assert all(row.sample and row.help for row in MERGE_NAMES)


# -- covering --


@quick
@given(TEXTS, TEXTS)
def test_what_is_covered_comes_back_as_it_was(text: str, other: str) -> None:
    cover = Cover(text, other)
    covered = cover.put(text)
    assert cover.typed(covered) == re.sub(r"\{\{([A-Za-z0-9_-]+(?:\|[^{}\r\n]*)?)\}\}", r"{\1}", text)
    assert cover.typed(other) == other
    assert cover.names_in(covered) == cover.names == Template.parse(text).names


def test_a_cover_is_one_word_and_never_one_of_the_text() -> None:
    text = "q0merge0q {first_name} Q1MERGE1q"
    cover = Cover(text)
    covered = cover.put(text)
    assert re.fullmatch(r"q0merge0q [a-z0-9]+ Q1MERGE1q", covered)
    assert [part for part in cover.split(covered) if isinstance(part, Field)] == [
        Field("first_name", "", "{first_name}")
    ]


def test_in_markup_a_fallback_is_markup_too() -> None:
    cover = Cover("")
    (_, field, _) = cover.split(cover.put("{company|A &amp; B}", markup=True))
    assert isinstance(field, Field)
    assert (field.fallback, field.typed) == ("A & B", "{company|A & B}")
