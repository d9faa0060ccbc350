"""Files of anybody are read as they are: the dialect is found out, columns are guessed, and what is no table is refused."""

import io

import pytest
from importshop import ImportShop

from cartwheel.data import schema
from cartwheel.data.importtables import import_refusals
from cartwheel.imports import sheets
from cartwheel.imports.columns import guess, preset_of
from cartwheel.imports.dialects import BadFile
from cartwheel.imports.sheets import Sheet
from conftest import Databases

GERMAN = "E-Mail;Name;Tags\njörg@shop.example;Jörg Größe;VIP, Kunde\nzoë@shop.example;Zoë;\n"
CZECH = "Email;Jméno\na@b.cz;Jiří Dvořák\nb@b.cz;Žluťoučký kůň\n"
RUSSIAN = "Email;Имя\na@b.ru;Иван Петров\n"
JAPANESE = "Email,名前\na@b.jp,山田太郎\n"
FRENCH = "Email,Name\nb@b.fr,François Côté\nc@c.es,Ibáñez\n"


def read(content: bytes, **how: str) -> list[list[str]]:
    sheet = Sheet(io.BytesIO(content), **how)
    rows = [sheet.columns, *(line.cells for some in sheet.slices() for line in some)]
    sheet.close()
    return rows


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "utf-16"),
        (GERMAN, "utf-16-le"),
        (GERMAN, "utf-16-be"),
        (GERMAN, "utf-32"),
        (GERMAN, "cp1252"),
        (FRENCH, "cp1252"),
        (CZECH, "cp1250"),
        (RUSSIAN, "cp1251"),
        (JAPANESE, "shift_jis"),
    ],
)
def test_the_encoding_is_found_out(text: str, encoding: str) -> None:
    delimiter = ";" if ";" in text else ","
    assert read(text.encode(encoding)) == [line.split(delimiter) for line in text.splitlines()]


def test_a_few_broken_bytes_do_not_spoil_the_rest(databases: Databases) -> None:
    shop = ImportShop(databases.new("sqlite"))
    rows = b"".join(f"p{number}@shop.example,Zo\u00eb\n".encode() for number in range(50))
    done = shop.run(b"Email,First Name\nbad@shop.example,Zo\xeb\nnul@shop.example,a\0b\n" + rows)
    assert (done.made, done.refused) == (50, 2)
    assert {row["reason"] for row in shop.rows(import_refusals)} == {"it has characters that cannot be read or stored"}
    shop.close()


@pytest.mark.parametrize(
    "text",
    [
        "Email,Name\na@b.de,{}\n",
        "Email;Name\na@b.de;{}\n",
        "Email\tName\na@b.de\t{}\n",
        "Email|Name\na@b.de|{}\n",
        "Email,Name\r\na@b.de,{}\r\n",
        "Email,Name\ra@b.de,{}\r",
        "'Email','Name'\n'a@b.de','{}'\n",
        "\n\nEmail,Name\n\na@b.de,{}",
    ],
)
def test_the_delimiter_is_found_out(text: str) -> None:
    assert read(text.format("Ada").encode()) == [["Email", "Name"], ["a@b.de", "Ada"]]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('"x, y; z"', "x, y; z"),
        ('"say ""hi"""', 'say "hi"'),
        ('"say \\"hi\\", ok"', 'say "hi", ok'),
        ('"a\nb"', "a\nb"),
    ],
)
def test_quotes_are_read_as_they_are_meant(cell: str, value: str) -> None:
    assert read(f"Email,Name\na@b.de,{cell}\n".encode())[1] == ["a@b.de", value]


def test_a_file_without_names_of_columns_is_read_too() -> None:
    assert read(b"a@b.de,Ada\nb@b.de,Bob\n") == [["Column 1", "Column 2"], ["a@b.de", "Ada"], ["b@b.de", "Bob"]]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"Email,Name\n", "no rows"),
        (b"PK\x03\x04" + b"x" * 100, "Excel"),
        (b"%PDF-1.4", "PDF"),
        (b"\0\1\2\3" * 999, "no text file"),
        (",".join(f"c{number}" for number in range(10_000)).encode() + b"\n1\n", "10,000 columns"),
        (b"Email\n" + b"y" * 3_000_000, "line 2 is longer"),
        (b'"' + b"z" * 3_000_000, "line 1 is longer"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(content: bytes, told: str) -> None:
    with pytest.raises(BadFile, match=told):
        read(content)


def test_the_encoding_that_somebody_says_is_taken() -> None:
    text = "Email;Όνομα\na@b.gr;Γιώργος\n"
    assert read(text.encode("cp1253"), encoding="cp1253")[1] == ["a@b.gr", "Γιώργος"]
    with pytest.raises(BadFile, match="no text encoding"):
        read(b"Email\n", encoding="klingon")


@pytest.fixture(scope="module")
def shop(databases: Databases) -> ImportShop:
    return ImportShop(databases.new("sqlite"))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("a@shop.example,Ada,more,and more", "it has 4 cells, and there are 3 columns"),
        ("a@shop.example", "it has 1 cells, and there are 3 columns"),
        (f"a@shop.example,{'x' * 1001},", "first_name is longer than 1000 characters"),
        (f"a@shop.example,{'x' * 200_000},", "a cell is longer than 100,000 characters"),
        ("a@shop.example,,Green", "colours has no option Green"),
        ("=cmd()|x,,", "=cmd()|x is no e-mail address"),
        (",Ada,", "it has no e-mail address"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused_with_the_reason(shop: ImportShop, row: str, told: str) -> None:
    done = shop.run(f"Email,First Name,Colours\nok@shop.example,,\n{row}\n")
    assert done.refused == 1
    assert [each["reason"] for each in shop.rows(import_refusals, import_id=done.id)] == [told]


def test_an_unclosed_quote_costs_no_more_than_it_must(shop: ImportShop) -> None:
    done = shop.run('Email,First Name\nq1@shop.example,"Ada\nq2@shop.example,Bob\n')
    assert (done.rows, done.made) == (1, 1), "it is one cell, as far as anybody can tell"
    assert shop.lead("q1@shop.example")["first_name"].startswith("Ada")


EXPORTS = {
    "kartra": (
        "email,first_name,last_name,lead_tags,lead_lists,gdpr_lead_status,gdpr_lead_communications,score,blacklisted",
        'k@shop.example,Ada,Lovelace,"Customer,VIP",Newsletter; Monthly,2,1,5,0',
        {"first_name": "Ada", "gdpr_status": 2, "score": 5},
        {"Customer", "VIP"},
    ),
    "mailchimp": (
        '"Email Address","First Name","Last Name",MEMBER_RATING,OPTIN_TIME,CONFIRM_TIME,CONFIRM_IP,TIMEZONE,LEID,EUID,NOTES,TAGS',
        'm@shop.example,Ada,Lovelace,2,"2020-01-01 10:00:00","2020-01-02 10:00:00",1.2.3.4,Europe/Paris,1,abc,,"""VIP"",""Customer"""',
        {"lead_preferred_time_zone": "Europe/Paris", "created_at": 1_577_959_200_000_000},
        {"Customer", "VIP"},
    ),
    "kit": (
        "subscriber_id,email,first_name,state,created_at,tags",
        't@shop.example-no,t@shop.example,Ada,cancelled,2021-03-04 10:11:12 UTC,"VIP, Customer"',
        {"first_name": "Ada", "blacklisted": True},
        {"Customer", "VIP"},
    ),
    "activecampaign": (
        "Contact ID,Email,First Name,Last Name,Phone,Account,Date Created,Tags,Status",
        "7,c@shop.example,Ada,Lovelace,+1 555,Analytical,2021-03-04 10:11:12,VIP,Active",
        {"company": "Analytical", "phone": "+1 555", "blacklisted": False},
        {"VIP"},
    ),
}


@pytest.mark.parametrize("system", EXPORTS)
def test_other_systems_exports_are_known(shop: ImportShop, system: str) -> None:
    header, row, wanted, tags = EXPORTS[system]
    email = next(cell for cell in row.split(",") if cell.endswith("@shop.example"))
    done = shop.run(f"{header}\n{row}\n", make=True)
    assert preset_of(done.headers) == system
    assert (done.made, done.refused) == (1, 0)
    lead = shop.lead(email)
    assert {name: lead[name] for name in wanted} == wanted
    names = shop.account.tag_names
    assert {names[row["tag_id"]] for row in shop.rows(schema.lead_tags, lead_id=lead["id"])} == tags


def test_columns_are_guessed_by_what_stands_in_them_too(shop: ImportShop) -> None:
    account = shop.account
    assert guess(["Who", "Shoe_Size"], [["a@b.de", "38"]], account) == ["email", "field:shoe_size"]
    assert guess(["Email", "Created"], [["a@b.de", "03/04/05"]], account) == ["email", ""]
    assert guess(["Email", "Mail", "Tags", "Tag"], [], account) == ["email", "", "tags", "tags"]


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, databases: Databases) -> None:
    shop = ImportShop(databases.new("sqlite"))
    monkeypatch.setattr("cartwheel.imports.keeping.LARGEST_FILE", 1000)
    with pytest.raises(BadFile, match="at most are read"):
        shop.keep("Email\n" + "a@b.de\n" * 200)
    assert sheets.LARGEST_FILE > 1000
    shop.close()
