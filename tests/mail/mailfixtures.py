"""A mail server that takes what comes, and a shop that sends by it."""

from collections.abc import Iterator

import pytest
from office import Office
from runshop import NewShop, shops
from sink import Sink

from commandline import Cartwheel
from harness import Server


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


@pytest.fixture
def shop(server: Server, sink: Sink, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch) -> Iterator[NewShop]:
    """On a server of its own: tests that use it carry the mark `own_server`."""
    office = Office(server, CARTWHEEL_SMTP=sink.url())
    yield shops(office, cartwheel, monkeypatch)
    office.close()
