"""Every text of the pages in every language."""

import io
import re
from importlib.resources import files
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po
from cast import PASSWORD, Cast, Person

from cartwheel.ui import forgery, site
from cartwheel.ui.translations import ENGLISH, choose, languages

SOURCE = Path(str(files("cartwheel")))
MAPPING = Path(__file__).parent.parent.parent / "assets" / "babel.ini"
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[sd]|\{\w+\}")

OTHERS = sorted(code for code in languages() if code != ENGLISH)


def texts() -> set[str]:
    """What templates and code say, as `make messages` finds it."""
    method_map, options_map = parse_mapping_cfg(io.StringIO(MAPPING.read_text()))  # type: ignore[no-untyped-call] # Babel has no types for it
    found = extract_from_dir(SOURCE, method_map, options_map)
    return {text if isinstance(text, str) else text[0] for _, _, text, _, _ in found} - {""}


def translated(code: str) -> Catalog:
    return read_po(io.BytesIO(SOURCE.joinpath("ui", "locale", f"{code}.po").read_bytes()), locale=code)


def test_spanish_is_there() -> None:
    assert "es" in OTHERS


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_is_translated(code: str) -> None:
    catalog = translated(code)
    told = {message.id if isinstance(message.id, str) else message.id[0]: message for message in catalog if message.id}
    done = {text for text, message in told.items() if message.string and all(message.string)}
    assert sorted(texts() - done) == [], f"`make messages` puts them into ui/locale/{code}.po, to be translated there"
    assert sorted(set(told) - texts()) == [], "nothing says this any more: `make messages` takes it out"


@pytest.mark.parametrize("code", OTHERS)
def test_translations_keep_the_values_in_them(code: str) -> None:
    for message in translated(code):
        ids = [message.id] if isinstance(message.id, str) else list(message.id)
        strings = [message.string] if isinstance(message.string, str) else list(message.string or ())
        one, many = set(PLACEHOLDER.findall(ids[0])), set(PLACEHOLDER.findall(ids[-1]))
        for number, text in enumerate(strings):
            found = set(PLACEHOLDER.findall(text))
            assert found == many or (number == 0 and found == one) or not text, message.id


def test_the_browsers_language_is_spoken_until_another_is_chosen() -> None:
    assert choose("", "es-MX,es;q=0.9,en;q=0.8").code == "es"
    assert choose("", "xx,en").code == ENGLISH
    assert choose("en", "es").code == ENGLISH


def test_a_language_chosen_at_the_sign_in_stays(cast: Cast, boss: Person) -> None:
    http = cast.visitor()
    page = http.get("/signin?lang=es")
    assert '<html lang="es"' in page.text
    assert "Iniciar sesión" in page.text
    sent = {
        "csrf": forgery.token(http.cookies[site.cookie_name(str(http.base_url))]),
        "email": boss.email,
        "lang": "es",
    }
    assert "no son correctas" in http.post("/signin", data=sent | {"password": "wrong password"}).text
    assert http.post("/signin", data=sent | {"password": PASSWORD}).status_code == 303
    assert "Listas" in http.get("/").text
