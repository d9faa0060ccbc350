"""Mail servers as settings name them."""

import pytest

from cartwheel.errors import BadSetting
from cartwheel.mail.smtpurl import Server, Tls, options, parse, parse_routes

PASSWORD = "Pa55w0rd"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", Server(host="mail.example", port=25)),
        ("SMTP://Mail.Example:2525/", Server(host="mail.example", port=2525)),
        ("smtp://[::1]:2525", Server(host="::1", port=2525)),
        (
            "smtp://me%40acme.example:p%40%3A%2F%3F%23@mail.example",
            Server(host="mail.example", port=587, user="me@acme.example", password="p@:/?#", tls=Tls.REQUIRED),
        ),
        (
            "smtp://me@acme.example:p@mail.example:25?tls=off",
            Server(host="mail.example", port=25, user="me@acme.example", password="p", tls=Tls.OFF),
        ),
        ("smtp://me:p@127.0.0.1:2525", Server(host="127.0.0.1", port=2525, user="me", password="p")),
        (
            "smtps://me:p@mail.example?verify=no",
            Server(host="mail.example", port=465, user="me", password="p", tls=Tls.FROM_THE_START, verify=False),
        ),
        (
            (
                "smtp://mail.example?connections=3&messages=50&idle=2.5&ehlo=me.example&connect_timeout=1&command_timeout=2"
                "&dot_timeout=3&per_second=14&per_hour=1000&domain_per_second=1&domain_per_hour=100&tls=required"
            ),
            Server(
                host="mail.example",
                port=25,
                tls=Tls.REQUIRED,
                ehlo="me.example",
                connections=3,
                messages=50,
                idle=2.5,
                connect_timeout=1,
                command_timeout=2,
                dot_timeout=3,
                per_second=14,
                per_hour=1000,
                domain_per_second=1,
                domain_per_hour=100,
            ),
        ),
    ],
)
def test_a_url_names_a_server(url: str, server: Server) -> None:
    assert parse(url) == server


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mail.example", "smtp://"),
        ("http://me:{}@mail.example", "smtp://"),
        ("smtp://", "no host"),
        ("smtp://me:{}@", "no host"),
        ("smtp://me:{}@mail example", "no host"),
        ("smtp://me:{}@mail.example:port", "cannot be read"),
        ("smtp://me:{}@mail.example:99999", "cannot be read"),
        ("smtp://me:{}@[::1", "cannot be read"),
        ("smtp://me:1/{}@mail.example", "no path"),
        ("smtp://me:x/{}@mail.example", "cannot be read"),
        ("smtp://me:1?{}@mail.example", "no such option"),
        ("smtp://me:1#{}@mail.example", "no path"),
        ("smtp://me@mail.example", "without a password"),
        ("smtp://:{}@mail.example", "without a password"),
        ("smtp://me:{}%00@mail.example", "cannot be sent"),
        ("smtp://me:{}@mail.example?colour=red", "no such option"),
        ("smtp://me:{}@mail.example?connections=0", "connections has to be a whole number from 1 to 1000"),
        ("smtp://me:{}@mail.example?connections={}", "connections has to be"),
        ("smtp://me:{}@mail.example?idle=never", "idle has to be a number of seconds"),
        ("smtp://me:{}@mail.example?dot_timeout=0", "dot_timeout has to be a number of seconds"),
        ("smtp://me:{}@mail.example?verify=maybe", "verify has to be yes or no"),
        ("smtp://me:{}@mail.example?tls=perhaps", "tls has to be off, auto or required"),
        ("smtp://me:{}@mail.example?tls=from+the+start", "tls has to be off, auto or required"),
        ("smtps://me:{}@mail.example?tls=off", "tls is for smtp://"),
        ("smtp://me:{}@mail.example?ehlo=me%0D%0AMAIL", "ehlo has to be a host name"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_without_telling_the_password(url: str, complaint: str) -> None:
    with pytest.raises(BadSetting) as refusal:
        parse(url.replace("{}", PASSWORD))
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert PASSWORD not in str(refusal.value)
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_no_password_is_shown() -> None:
    server = parse(f"smtp://me:{PASSWORD}@mail.example")
    assert PASSWORD not in repr(server)
    assert server.name == "me@mail.example:587"


def test_every_option_has_a_help_and_a_default_that_it_would_read() -> None:
    for name, (default, row) in options().items():
        assert row["help"].endswith(".")
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert row["read"](f"{default:g}") == default, name


def test_servers_are_given_with_the_domains_that_send_through_them() -> None:
    routes = parse_routes("smtp://a.example shop.example=smtp://b.example\n*.shop.example=smtp://c.example?per_hour=5")
    assert [(route.domain, route.server.host) for route in routes] == [
        ("shop.example", "b.example"),
        ("*.shop.example", "c.example"),
        ("*", "a.example"),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "exactly one"),
        ("shop.example=smtp://a.example", "exactly one"),
        ("smtp://a.example smtp://b.example", "exactly one"),
        ("shop.example smtp://b.example", "domain=smtp://"),
        ("smtp://a.example shop.example=smtp://a.example?per_hour=1", "a.example:25 is given twice"),
    ],
)
def test_servers_among_which_nobody_could_choose_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(BadSetting, match=complaint):
        parse_routes(text)
