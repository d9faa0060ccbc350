# ruff: noqa: RUF001 - so they are written
"""Whom the demo's shop has to do with: names that are common where each of these people lives. Pure."""

import unicodedata
from collections.abc import Iterator
from random import Random
from typing import NamedTuple


class Place(NamedTuple):
    """A country, and how people are called there."""

    country: str
    zone: str
    domain: str
    cities: str
    first: str
    last: str


PLACES = (
    Place("United Kingdom", "Europe/London", "uk", "London Leeds Bristol Glasgow", "Amelia Oliver Isla George Freya Harry Poppy Arthur Edith Callum", "Smith Taylor Hughes Patel Evans Campbell Walker Reid"),
    Place("Ireland", "Europe/Dublin", "ie", "Dublin Cork Galway", "Saoirse Conor Aoife Cillian Niamh", "Murphy Byrne Kelly Doyle Nolan"),
    Place("Spain", "Europe/Madrid", "es", "Madrid Sevilla Valencia Bilbao", "Lucía Hugo Martina Mateo Carmen Íñigo Paula Álvaro", "García Fernández Muñoz Ibáñez Navarro Ortega"),
    Place("Germany", "Europe/Berlin", "de", "Berlin Köln München Leipzig", "Emma Jonas Mia Jürgen Greta Lukas Käthe Felix", "Müller Schröder Weiß Krüger Becker Vogel"),
    Place("France", "Europe/Paris", "fr", "Paris Lyon Nantes Lille", "Chloé Léo Inès Gaël Manon Théo Anaïs", "Lefèvre Moreau Garnier Rousseau Blanchard"),
    Place("Italy", "Europe/Rome", "it", "Roma Torino Bologna Napoli", "Giulia Matteo Chiara Lorenzo Niccolò", "Rossi Ferrari Colombo Greco Conti"),
    Place("Poland", "Europe/Warsaw", "pl", "Warszawa Kraków Gdańsk Łódź", "Zofia Łukasz Hanna Kacper Małgorzata", "Nowak Wójcik Zieliński Dąbrowska Kamińska"),
    Place("Netherlands", "Europe/Amsterdam", "nl", "Utrecht Groningen Rotterdam", "Sanne Daan Femke Bram Lotte", "Jansen Visser Bakker Dekker"),
    Place("Sweden", "Europe/Stockholm", "se", "Göteborg Malmö Uppsala", "Astrid Björn Maja Nils Åsa", "Lindqvist Öberg Nyström Sjöberg"),
    Place("Greece", "Europe/Athens", "gr", "Αθήνα Πάτρα", "Ελένη Γιώργος Μαρία Νίκος", "Παπαδόπουλος Νικολάου Δημητρίου"),
    Place("Türkiye", "Europe/Istanbul", "tr", "İstanbul İzmir Bursa", "Elif Yusuf Zeynep Çağla Emre", "Yılmaz Şahin Öztürk Çelik"),
    Place("Egypt", "Africa/Cairo", "eg", "القاهرة الإسكندرية", "فاطمة أحمد مريم يوسف", "حسن إبراهيم منصور"),
    Place("Nigeria", "Africa/Lagos", "ng", "Lagos Abuja Ibadan", "Adaeze Chinedu Folasade Tunde Ngozi", "Okafor Adeyemi Balogun Eze"),
    Place("South Africa", "Africa/Johannesburg", "za", "Durban Pretoria", "Thandiwe Sipho Lerato Pieter", "Nkosi Dlamini Botha Naidoo"),
    Place("India", "Asia/Kolkata", "in", "Pune Kochi Jaipur Chennai", "Ananya Arjun Diya Rohan Meera Vikram", "Sharma Iyer Nair Kapoor Reddy"),
    Place("Japan", "Asia/Tokyo", "jp", "東京 京都 札幌", "陽菜 蓮 さくら 大輔 美咲", "佐藤 鈴木 高橋 渡辺"),
    Place("Brazil", "America/Sao_Paulo", "br", "Recife Curitiba Belém", "Júlia João Beatriz Caio Antônia", "Silva Araújo Gonçalves Magalhães"),
    Place("Mexico", "America/Mexico_City", "mx", "Puebla Mérida Oaxaca", "Ximena Diego Renata Andrés", "Hernández López Ramírez Núñez"),
    Place("United States", "America/New_York", "us", "Portland Austin Boston Denver", "Olivia Noah Ava Ethan Zoe Marcus Grace Tyler", "Johnson Williams Nguyen Rivera Cohen Brooks"),
    Place("Canada", "America/Toronto", "ca", "Montréal Halifax Calgary", "Charlotte Liam Maëlle Owen", "Tremblay Gagnon Singh MacDonald"),
    Place("Australia", "Australia/Sydney", "au", "Hobart Perth Brisbane", "Matilda Jack Ruby Lachlan", "Wilson O'Connor Chen Kaur"),
)  # fmt: skip

WEIGHTS = (9, 4, 5, 6, 5, 3, 4, 3, 3, 1, 2, 1, 2, 2, 4, 2, 3, 3, 7, 3, 3)


class Person(NamedTuple):
    """Somebody, and how much the shop's mail interests them: 0 not at all, 1 very much."""

    email: str
    first: str
    last: str
    city: str
    country: str
    zone: str
    keen: float


def people(chance: Random) -> Iterator[Person]:
    """No end of them, each with an address of their own."""
    taken: set[str] = set()
    while True:
        [place] = chance.choices(PLACES, WEIGHTS)
        first, last = chance.choice(place.first.split()), chance.choice(place.last.split())
        name = f"{_latin(first)}.{_latin(last)}".strip(".") or f"reader{chance.randrange(100, 999)}"
        email = f"{name}@{chance.choice(('mail', 'post', 'inbox'))}.{place.domain}.example"
        if email not in taken:
            taken.add(email)
            city = chance.choice(place.cities.split())
            yield Person(email, first, last, city, place.country, place.zone, chance.betavariate(2, 2))


def _latin(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.replace("ł", "l").replace("Ł", "L").replace("ı", "i").replace("ß", "ss"))
    return "".join(letter for letter in plain.lower() if letter.isascii() and letter.isalnum())
