"""Addresses in mails: what we wrote is read as it was meant, and nothing else is."""

import base64
import re
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cartwheel.mail.links import Kind, MailId, Payload, Signer

quick = settings(max_examples=100, derandomize=True, deadline=None, database=None)

SIGNER = Signer(b"a secret of the installation")
STRANGER = Signer(b"a secret of somebody else's")
MAIL = MailId(7, 123_456, 1_780_000_000_123_456)
MOST = (1 << 63) - 1
TARGET = "https://shop.example/?a=1&b=2"

numbers = st.integers(0, 300) | st.integers(0, MOST)
mails = st.builds(MailId, numbers, numbers, numbers)
small_mails = st.builds(
    MailId, st.integers(0, (1 << 28) - 1), st.integers(0, (1 << 49) - 1), st.integers(0, (1 << 56) - 1)
)
anything = st.text(st.characters(exclude_categories=()))
targets = st.just("") | st.just(TARGET) | anything

# -- tokens --


@quick
@given(st.sampled_from(Kind), mails, numbers, targets)
@example(Kind.CLICK, MailId(MOST, MOST, MOST), MOST, TARGET)
def test_a_token_says_what_was_put_into_it(kind: Kind, mail: MailId, link: int, target: str) -> None:
    found = SIGNER.read(SIGNER.token(kind, mail, link, target), target)
    assert found == Payload(kind, mail, link if kind is Kind.CLICK else 0)


@quick
@given(mails, numbers, anything)
def test_a_token_needs_no_quoting(mail: MailId, link: int, target: str) -> None:
    token = SIGNER.token(Kind.CLICK, mail, link, target)
    assert re.fullmatch(r"[A-Za-z0-9_-]{27,71}", token)


def test_a_usual_token_is_short() -> None:
    assert len(SIGNER.token(Kind.CLICK, MAIL, 3, TARGET)) == 40


def test_tokens_of_mails_that_went_out_are_read_for_ever() -> None:
    """If this fails, the links in every mail ever sent are broken."""
    old = Signer(b"x" * 32)
    target = "https://shop.example/products/42?utm_source=mail&utm_campaign=welcome"
    assert old.read("BAfAxAfAxNTd6NyUAwO5VWdPrz-PWdLG1IkRKn9_", target) == Payload(Kind.CLICK, MAIL, 3)
    assert old.read_bounce_address("bounces+aud4brahydcnjxpi3skahxwjc5rffh3vs6zsuc6f@acme.example") == MAIL
    assert old.read_message_id("<ayd4brahydcnjxpi3skagnpla3mfr24fjwdeetwb@acme.example>") == MAIL
    assert {kind.name: kind.value for kind in Kind} == {
        "UNSUBSCRIBE": 1,
        "PREFERENCES": 2,
        "OPEN": 3,
        "CLICK": 4,
        "BOUNCE": 5,
        "MESSAGE": 6,
    }


@quick
@given(anything | st.text("AaZz09-_=+/ \n.%") | st.from_regex(r"[A-Za-z0-9_-]{20,80}", fullmatch=True), targets)
def test_what_nobody_signed_says_nothing(text: str, target: str) -> None:
    assert SIGNER.read(text, target) is None
    assert SIGNER.read_bounce_address(text) is None
    assert SIGNER.read_bounce_address(f"bounces+{text}@acme.example") is None
    assert SIGNER.read_message_id(text) is None
    assert SIGNER.read_message_id(f"<{text}@acme.example>") is None


@pytest.mark.parametrize("text", ["A" * 10_000, "=" * 10_000, "\0" * 10_000, "é" * 10_000, "\ud800", "1" * 39 + "٣"])
def test_long_and_strange_texts_say_nothing(text: str) -> None:
    assert SIGNER.read(text) is None
    assert SIGNER.read(SIGNER.token(Kind.OPEN, MAIL), text) is None
    assert SIGNER.read_bounce_address(f"{text}@acme.example") is None
    assert SIGNER.read_message_id(f"<{text}@acme.example>") is None


@quick
@given(st.sampled_from(Kind), mails, st.data())
def test_a_token_with_a_letter_changed_says_nothing(kind: Kind, mail: MailId, data: st.DataObject) -> None:
    token = SIGNER.token(kind, mail)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=. é٣"))
    assume(letter != token[place])
    assert SIGNER.read(token[:place] + letter + token[place + 1 :]) is None


@quick
@given(st.sampled_from(Kind), mails, st.data())
def test_a_token_with_something_missing_or_added_says_nothing(kind: Kind, mail: MailId, data: st.DataObject) -> None:
    token = SIGNER.token(kind, mail)
    place = data.draw(st.integers(0, len(token)))
    added = data.draw(st.text("Aa0-_=\n +/", min_size=1, max_size=8))
    assert SIGNER.read(token[:place] + added + token[place:]) is None
    assert SIGNER.read(token[:place] + token[place + 1 :]) is None or place == len(token)
    assert SIGNER.read(token[:place]) is None or place == len(token)


@pytest.mark.parametrize("kind", Kind)
def test_another_secret_signs_otherwise(kind: Kind) -> None:
    assert STRANGER.read(SIGNER.token(kind, MAIL)) is None
    assert STRANGER.read_bounce_address(SIGNER.bounce_address(MAIL, "bounces@acme.example")) is None
    assert STRANGER.read_message_id(SIGNER.message_id(MAIL, "acme.example")) is None


@quick
@given(st.sampled_from(Kind), st.sampled_from(Kind), mails, mails)
def test_no_two_things_have_the_same_token(kind: Kind, other: Kind, mail: MailId, another: MailId) -> None:
    assume((kind, mail) != (other, another))
    assert SIGNER.token(kind, mail) != SIGNER.token(other, another)


@pytest.mark.parametrize("secret", [b"", b"short", b"x" * 15])
def test_a_secret_that_can_be_guessed_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError, match="a secret has 16 bytes"):
        Signer(secret)


# -- where clicks lead --


@quick
@given(mails, targets, targets)
def test_a_click_leads_nowhere_but_where_it_was_signed_for(mail: MailId, target: str, another: str) -> None:
    assume(target != another)
    assert SIGNER.read(SIGNER.token(Kind.CLICK, mail, 3, target), another) is None


@pytest.mark.parametrize("kind", Kind)
def test_no_token_can_be_given_a_target(kind: Kind) -> None:
    token = SIGNER.token(kind, MAIL)
    assert SIGNER.read(token, "https://evil.example/") is None
    assert SIGNER.read(token, "\0") is None


@quick
@given(mails, numbers, st.just("https://shop.example/?next=https://evil.example/") | st.text("ab/:."))
def test_the_border_between_token_and_target_cannot_be_moved(mail: MailId, link: int, target: str) -> None:
    """Otherwise `https://evil.example/` alone would be a target that was signed."""
    sealed = base64.urlsafe_b64decode(SIGNER.token(Kind.CLICK, mail, link, target) + "==")
    packed, mac = sealed[:-16], sealed[-16:]
    for cut in range(len(packed + target.encode())):
        if cut != len(packed):
            moved, rest = (packed + target.encode())[:cut], (packed + target.encode())[cut:]
            token = base64.urlsafe_b64encode(moved + mac).rstrip(b"=").decode()
            assert SIGNER.read(token, rest.decode("utf-8", "surrogateescape")) is None


@quick
@given(anything.filter(lambda text: not re.search("[\ud800-\udfff]", text)))
def test_a_target_survives_the_query(target: str) -> None:
    token = SIGNER.token(Kind.CLICK, MAIL, 3, target)
    query = urlencode({"to": target})
    came = parse_qs(query, keep_blank_values=True)["to"][0]
    assert SIGNER.read(token, came) == Payload(Kind.CLICK, MAIL, 3)


# -- return paths --


@quick
@given(small_mails, st.sampled_from(["b", "bounces", "eleven_long"]))
def test_a_return_path_is_read_back(mail: MailId, name: str) -> None:
    address = SIGNER.bounce_address(mail, f"{name}@acme.example")
    local, _, domain = address.rpartition("@")
    assert domain == "acme.example"
    assert re.fullmatch(r"[a-z_]+\+[a-z2-7]+", local)
    assert len(local) <= 64
    assert SIGNER.read_bounce_address(address) == mail
    assert SIGNER.read_bounce_address(address.upper()) == mail
    assert SIGNER.read_bounce_address(address.title()) == mail


def test_a_return_path_is_read_whatever_stands_before_it() -> None:
    address = SIGNER.bounce_address(MAIL, "bounces@acme.example")
    token = address.partition("@")[0].partition("+")[2]
    for forwarded in (
        f"{token}@acme.example",
        f"other+{token}@acme.example",
        f"prvs=0123456789={address}",
        f"SRS0=HHH=TT=acme.example=bounces+{token}@forwarder.example",
    ):
        assert SIGNER.read_bounce_address(forwarded) == MAIL


@quick
@given(small_mails, st.data())
def test_a_return_path_with_a_letter_changed_is_nobodys(mail: MailId, data: st.DataObject) -> None:
    token = SIGNER.bounce_address(mail, "b@acme.example").partition("@")[0].partition("+")[2]
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(
        st.sampled_from("abcdefghijklmnopqrstuvwxyz234567018=. é\N{KELVIN SIGN}\N{LATIN SMALL LETTER DOTLESS I}")
    )
    assume(letter != token[place])
    changed = token[:place] + letter + token[place + 1 :]
    assert SIGNER.read_bounce_address(f"b+{changed}@acme.example") is None
    assert SIGNER.read_bounce_address(f"b+{token[:place]}@acme.example") is None
    assert SIGNER.read_bounce_address(f"b+{token}{letter}@acme.example") is None


def test_letters_that_only_look_like_ours_are_not_ours() -> None:
    """In small letters, a Kelvin sign is a k."""
    address = SIGNER.bounce_address(MailId(7, 123_456, 5), "bounces@acme.example")
    kelvin = address.replace("k", "\N{KELVIN SIGN}")
    assert kelvin != address
    assert SIGNER.read_bounce_address(kelvin) is None


def test_a_mailbox_whose_name_leaves_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="too long a name"):
        SIGNER.bounce_address(MAIL, "n" * 24 + "@acme.example")


# -- Message-IDs --


@quick
@given(small_mails)
def test_a_message_id_is_always_the_same_and_tells_its_mail(mail: MailId) -> None:
    written = SIGNER.message_id(mail, "acme.example")
    assert re.fullmatch(r"<[a-z2-7]{26,52}@acme\.example>", written)
    assert Signer(b"a secret of the installation").message_id(mail, "acme.example") == written
    assert SIGNER.read_message_id(written) == mail
    assert SIGNER.read_message_id(f" {written}\r\n") == mail
    assert SIGNER.read_message_id(written.strip("<>")) == mail
    assert SIGNER.read_message_id(written.upper()) == mail


@quick
@given(small_mails)
def test_what_is_signed_for_one_purpose_is_nothing_elsewhere(mail: MailId) -> None:
    """A reader knows the Message-ID, which must not be a way to report a bounce or to unsubscribe somebody."""
    message_id = SIGNER.message_id(mail, "acme.example").strip("<>")
    bounce = SIGNER.bounce_address(mail, "bounces@acme.example")
    assert SIGNER.read_bounce_address(message_id) is None
    assert SIGNER.read_message_id(bounce) is None
    for address in (message_id, bounce):
        local = address.partition("@")[0].rpartition("+")[2]
        assert SIGNER.read(local) is None
        assert SIGNER.read(local.upper()) is None
