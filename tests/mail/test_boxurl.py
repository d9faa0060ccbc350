"""The setting that names the mailbox for bounces is read, and never repeated."""

import pytest

from cartwheel.bounces import boxurl
from cartwheel.errors import BadSetting


def test_a_url_names_a_mailbox() -> None:
    plain = boxurl.parse("imaps://bounces%40shop.example:p%2Fw@imap.shop.example/INBOX?done=Processed")
    assert (plain.host, plain.port, plain.user, plain.password) == (
        "imap.shop.example",
        993,
        "bounces@shop.example",
        "p/w",
    )
    assert (plain.folder, plain.done, plain.encrypted, plain.verify) == ("INBOX", "Processed", True, True)
    assert plain.name == "bounces@shop.example@imap.shop.example:993/INBOX"
    assert "p/w" not in repr(plain)
    other = boxurl.parse(" imap://u:p@[::1]:1143/INBOX/R%C3%BCckl%C3%A4ufer?verify=no ")
    assert (other.host, other.port, other.folder, other.done) == ("::1", 1143, "INBOX/Rückläufer", "")
    assert (other.encrypted, other.verify, other.is_here) == (False, False, True)
    assert boxurl.parse("imap://u:p@localhost").folder == "INBOX"


BAD_URLS = [
    "",
    "secret",
    "pop3://user:secret@host",
    "imaps://user:secret@",
    "imaps://user:secret@host:port",
    "imaps://user:secret@host:99999",
    "imaps://user:sec/ret@host",
    "imaps://user:secret@ho st",
    "imaps://user:secret@host/INBOX#secret",
    "imaps://user@host/secret",
    "imaps://:secret@host",
    "imaps://host/secret",
    "imaps://user:secret%0d%0a@host",
    "imaps://user:secret@host/IN%00BOX",
    "imaps://user:secret@host/INBOX?done=a%0ab",
    "imaps://user:secret@host/INBOX?done=INBOX",
    "imaps://user:secret@host/INBOX?secret=1",
    "imaps://user:secret@host/INBOX?verify=secret",
    "imaps://user:secret@[host",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_names_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadSetting, match="a mailbox") as refused:
        boxurl.parse(url)
    assert "sec" not in str(refused.value)
