"""Headers and encodings: what is written is read back the same by the standard library, in lines that every server takes."""

import quopri
import re
from base64 import b64decode
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nasty import NASTY, VALUES

from cartwheel.emails import EmailNotValid
from cartwheel.mail.inert import one_line
from cartwheel.mail.merge import BadContent, clean_value
from cartwheel.mail.mime import Attachment, address, file_entity, header, header_text, media_type_of, quoted

quick = settings(max_examples=100, derandomize=True, deadline=None, database=None)


def read(written: str) -> EmailMessage:
    """A mail that has only this header line."""
    return message_from_bytes(f"{written}\r\n\r\n".encode(), _class=EmailMessage, policy=policy.default)


def shown(text: str) -> str:
    """What a header can show of a text."""
    return one_line(clean_value(text)).strip()


# -- texts in headers --


@quick
@given(VALUES)
def test_a_header_shows_the_text_and_nothing_else(text: str) -> None:
    written = f"Subject: {header_text(text, len('Subject: '))}"
    mail = read(written)
    assert (mail.keys(), mail["Subject"]) == (["Subject"], shown(text))
    assert written.isascii()
    assert max(len(line) for line in written.split("\r\n")) <= 76
    for word in re.findall(r"=\?utf-8\?b\?(.*?)\?=", written):
        b64decode(word).decode()  # no character is cut in two


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("used", [5, 9, 40])
def test_no_header_line_is_longer_than_76(text: str, used: int) -> None:
    lines = header_text(text, used).split("\r\n")
    assert all(line.startswith(" ") and line.strip() for line in lines[1:])
    assert max(len(lines[0]) + used, *map(len, lines)) <= 76


def test_plain_words_are_folded_and_not_encoded() -> None:
    words = " ".join(["word"] * 40)
    folded = header_text(words, 9)
    assert "=?" not in folded
    assert folded.replace("\r\n", "") == words


def test_a_finished_header_cannot_hold_another() -> None:
    assert header("To", "=?x?=\r\n <a@b.example>") == (b"To", b"=?x?=\r\n <a@b.example>")
    for bad in ("a\r\nBcc: b", "a\nb", "a\rb", "a\0b", "a\r\n", "a\n b"):
        with pytest.raises(ValueError, match="To"):
            header("To", bad)


# -- addresses --


@pytest.mark.parametrize(
    ("name", "email", "written"),
    [
        ("", "ada@shop.example", "ada@shop.example"),
        ("Ada Lovelace", "ada@shop.example", "Ada Lovelace <ada@shop.example>"),
        ("Lovelace, Ada", "ada@shop.example", '"Lovelace, Ada" <ada@shop.example>'),
        ('Ada "Countess"', "ada@shop.example", '"Ada \\"Countess\\"" <ada@shop.example>'),
        ("back\\slash", "ada@shop.example", '"back\\\\slash" <ada@shop.example>'),
        ("Zoë", "zoe@shop.example", "=?utf-8?b?Wm/Dqw==?= <zoe@shop.example>"),
        ("", "ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("Ada", "ada@straße.example", "Ada <ada@xn--strae-oqa.example>"),
        ("Ada", "müller@bücher.example", "Ada <müller@xn--bcher-kva.example>"),
    ],
)
def test_an_address_is_written_as_the_standards_say(name: str, email: str, written: str) -> None:
    assert address(name, email) == written


@quick
@given(VALUES)
@example("=?utf-8?b?QmNjOg==?=")
def test_a_name_is_one_name_whatever_it_is(name: str) -> None:
    value = address(name, "ada@shop.example")
    (read_back,) = read(f"To: {value}")["To"].addresses
    assert read_back.addr_spec == "ada@shop.example"
    folded = parseaddr(value.replace("\r\n", ""))
    assert folded[1] == "ada@shop.example"
    assert str(make_header(decode_header(folded[0]))) == " ".join(clean_value(name).split())
    assert max(len(line) for line in f"Reply-To: {value}".split("\r\n")) <= 76


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "ada@",
        "@shop.example",
        "a@b@c",
        "a b@c.example",
        "a@b.example>, <c@d.example",
        "a@b\r\nBcc: c@d",
        "a@-ü-.example",
    ],
)
def test_what_is_no_address_is_none_in_a_header(email: str) -> None:
    with pytest.raises(EmailNotValid):
        address("Ada", email)


# -- quoted-printable --


@quick
@given(st.lists(VALUES, max_size=4))
def test_pieces_in_quoted_printable_are_one_text_again(values: list[str]) -> None:
    texts = [clean_value(value) for value in values]
    pieces = [quoted(text) for text in texts]
    assert all(piece.endswith(b"\r\n") or not piece for piece in pieces)
    assert quopri.decodestring(b"".join(pieces)) == "".join(texts).replace("\n", "\r\n").encode()
    assert max(len(line) for piece in pieces for line in [b"", *piece.split(b"\r\n")]) <= 76 if pieces else True
    assert all(b"\n" not in piece.replace(b"\r\n", b"") and b"=_" not in piece for piece in pieces)
    assert not any(re.search(rb"^\.", piece, re.MULTILINE) for piece in pieces)


@pytest.mark.parametrize("letter", ["a", "=", "é", " ", "."])
def test_lines_of_every_length_stay_short(letter: str) -> None:
    for length in range(70, 160):
        written = quoted(letter * length)
        assert max(map(len, written.split(b"\r\n"))) <= 76
        assert quopri.decodestring(written) == (letter * length).encode()
        assert not re.search(rb"^\.", written, re.MULTILINE)


# -- attachments --


@quick
@given(VALUES, st.binary(max_size=300))
def test_a_file_keeps_its_name_and_its_bytes(name: str, data: bytes) -> None:
    kept = clean_value(name).translate(dict.fromkeys(map(ord, '/\\<>:"|?*\n\t'), "_"))
    if not kept.strip():
        with pytest.raises(BadContent, match="no name"):
            file_entity(Attachment(name, "image/png", data))
        return
    written = b"".join(
        piece for piece in file_entity(Attachment(name, "image/png", data)).written() if isinstance(piece, bytes)
    )
    part = message_from_bytes(written, _class=EmailMessage, policy=policy.default)
    assert (part.get_content_type(), part.get_content(), part.get_content_disposition()) == (
        "image/png",
        data,
        "attachment",
    )
    assert part.get_filename() == kept.strip()
    assert max(map(len, written.split(b"\r\n"))) <= 78


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (Attachment("a.pdf", "pdf", b""), 'The attachment "a.pdf" has no usable media type: "pdf"'),
        (Attachment("a.pdf", "text/plain\r\nBcc: b", b""), "media type"),
        (Attachment("a.eml", "message/rfc822", b""), "media type"),
        (Attachment("a", "multipart/mixed", b""), "media type"),
        (Attachment("a.png", "image/png", b"", "a b"), "id with other characters"),
    ],
)
def test_a_file_that_no_mail_can_carry_is_refused_by_name(file: Attachment, message: str) -> None:
    with pytest.raises(BadContent, match=message):
        file_entity(file)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("beans.png", "image/png"),
        ("Beans.JPG", "image/jpeg"),
        ("beans.webp", "image/webp"),
        ("prices.pdf", "application/pdf"),
        ("prices.csv", "text/csv"),
        ("sowing.ics", "text/calendar"),
        ("prices.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("all.tar.gz", "application/octet-stream"),
        ("letter.eml", "application/octet-stream"),
        ("beans", "application/octet-stream"),
    ],
)
def test_the_name_of_a_file_tells_its_media_type(name: str, told: str) -> None:
    assert media_type_of(name) == told
    assert dict(file_entity(Attachment(name, told, b"")).headers)[b"Content-Type"].decode() == told
