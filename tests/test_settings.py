"""Settings that cannot be: told by `cartwheel config` as by the server."""

import pytest

from commandline import Cartwheel


@pytest.mark.parametrize("verb", ["config", "serve"])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DATABASE", "mysql://me@host/name", "has to be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"),
        ("DATABASE", "sqlite:///", "has to be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"),
        ("BOUNCE_HOOKS", "nobody=SECRET", "no provider nobody; there are "),
        ("PUBLIC_URL", "cartwheel.example", "has to look like https://cartwheel.example"),
        ("PUBLIC_URL", "ftp://cartwheel.example", "has to look like https://cartwheel.example"),
        ("PUBLIC_URL", "https://m\u00fc_ller.example", "names m\u00fc_ller.example, which cannot be a host"),
        ("BOUNCE_ADDRESS", "bounces", "has to be an address like bounces@shop.example"),
        ("TLS_KEY", "/nowhere", "there is no file /nowhere"),
        ("TLS_CERT", __file__, "CARTWHEEL_TLS_CERT and CARTWHEEL_TLS_KEY go together"),
        ("SMTP", "shop.example", "mail servers are given as smtp://"),
        ("TRUSTED_PROXIES", "10.0.0.0/99", "'10.0.0.0/99' does not appear to be an IPv4 or IPv6 network"),
        ("WORKER", "perhaps", "has to be yes or no"),
    ],
)
def test_a_setting_that_cannot_be_is_told_by_its_name_before_anything_serves(
    cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch, verb: str, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"CARTWHEEL_{name}", value)
    ran = cartwheel(verb)
    told = {"TLS_CERT": "TLS_KEY"}.get(name, name)
    assert ran.code == 2
    assert ran.trouble.startswith(f"cartwheel: CARTWHEEL_{told}: {message}")
