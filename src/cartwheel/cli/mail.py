"""The verbs about mail: sender domains, the ledger, the test mailbox, bounces."""

import os
import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cartwheel.cli.shared import ORIGIN, AccountName, AsJson
from cartwheel.errors import CartwheelError, NoSuchName, NotInDoubt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cartwheel.accounts import Account
    from cartwheel.data.db import Database
    from cartwheel.data.mailstore import Listed
    from cartwheel.data.signingkeys import SenderKey
    from cartwheel.mail.dkim import Record
    from cartwheel.work.batches import Batches

domain_cli = typer.Typer(no_args_is_help=True, help="The domains that mail is signed for (DKIM).")
mail_cli = typer.Typer(no_args_is_help=True, help="The ledger of mail, and what to do with mails in doubt.")
mailbox_cli = typer.Typer(no_args_is_help=True, help="The test mailbox: what would have been sent.")

DomainName = Annotated[
    str, typer.Argument(metavar="DOMAIN", help="What stands behind the @ of senders.", show_default=False)
]
MailNumber = Annotated[int, typer.Argument(metavar="NUMBER", help="The mail's number.", show_default=False)]
MailNumbers = Annotated[
    list[int] | None, typer.Argument(metavar="NUMBER", help="The mails' numbers.", show_default=False)
]
OfLead = Annotated[
    str | None, typer.Option("--lead", metavar="EMAIL", help="Only mails to this lead.", show_default=False)
]
Most = Annotated[int, typer.Option(min=1, help="How many are listed: the newest.")]
All = Annotated[bool, typer.Option("--all", help="All mails in doubt (with --lead, all of this lead).")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; the ledger keeps it with the mail.")]


# -- sender domains --


@domain_cli.command("add")
def add_domain(
    domain: DomainName,
    selector: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The key's name in DNS.", show_default="cartwheel-ALGORITHM"),
    ] = None,
    algorithm: Annotated[
        Literal["rsa", "ed25519"], typer.Option(help="Every receiver knows rsa; ed25519 is an addition to it.")
    ] = "rsa",
    account: AccountName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make a key for a domain, and show the DNS records to publish. Its mail is signed from now on.

    Workers that are running notice it. The domain's subdomains are signed for, too.

    cartwheel domain add shop.example
    """
    from cartwheel import times
    from cartwheel.cli import context
    from cartwheel.data import signingkeys
    from cartwheel.mail import dkim

    kind = dkim.Algorithm(algorithm)
    with context.opened(account) as (database, owner):
        key = signingkeys.add(database, owner.id, domain, selector or f"cartwheel-{kind}", kind, times.now())
    _tell_records([key], _records([key]), as_json=as_json)


@domain_cli.command("list")
def list_domains(account: AccountName = None, *, as_json: AsJson = False) -> None:
    """List the account's domains and their keys, without what is secret about them."""
    from cartwheel.cli import context
    from cartwheel.data import signingkeys
    from cartwheel.views import mailviews, terminal

    with context.opened(account) as (database, owner), database.read() as connection:
        keys = signingkeys.stored(connection, owner.id)
    if as_json:
        terminal.show_json([mailviews.key_data(key) for key in keys])
    else:
        terminal.show(*mailviews.keys(keys, owner.zone))


@domain_cli.command("show")
def show_domain(
    domain: DomainName,
    carrier: Annotated[
        list[str] | None,
        typer.Option(metavar="TERM", help="An SPF term for who carries the mail: include:spf.relay.example, ip4:…"),
    ] = None,
    spf: Annotated[str, typer.Option(metavar="TEXT", help="The domain's SPF record as it is now.")] = "",
    dmarc: Annotated[str, typer.Option(metavar="TEXT", help="Its DMARC record as it is now.")] = "",
    account: AccountName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what the domain's DNS has to say, so that receivers believe its mail. Nothing is taken from other senders.

    cartwheel domain show shop.example --carrier include:spf.relay.example --spf "v=spf1 mx ~all"
    """
    from cartwheel.cli import context
    from cartwheel.data import signingkeys

    with context.opened(account) as (database, owner), database.read() as connection:
        keys = signingkeys.stored(connection, owner.id, domain)
    if not keys:
        raise NoSuchName(f"{owner.name} has no domain {domain}: `cartwheel domain add {domain}` makes a key for it")
    _tell_records(keys, _records(keys, carrier or [], spf.strip('" '), dmarc.strip('" ')), as_json=as_json)


@domain_cli.command("remove")
def remove_domain(
    domain: DomainName,
    selector: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only the key of this name.", show_default="all of them")
    ] = None,
    account: AccountName = None,
) -> None:
    """Throw a domain's keys away. Its mail is not signed with them from now on."""
    from cartwheel.cli import context
    from cartwheel.data import signingkeys

    with context.opened(account) as (database, owner):
        removed = signingkeys.remove(database, owner.id, domain, selector)
    if not removed:
        raise NoSuchName(f"{owner.name} has no key for {domain}" + (f" named {selector}" if selector else ""))
    typer.echo(
        f"{removed} {'key is' if removed == 1 else 'keys are'} gone. Leave the DNS records for a week: mail is late."
    )


def _records(
    keys: "Sequence[SenderKey]", carriers: "Sequence[str]" = (), spf: str = "", dmarc: str = ""
) -> "list[Record]":
    """Those of all keys of a domain; what they have in common once."""
    from cartwheel.mail import dkim

    each = (
        dkim.dns_records(
            key.signer.domain, key.signer.selector, key.signer.public_key, carriers=carriers, spf=spf, dmarc=dmarc
        )
        for key in keys
    )
    return list(dict.fromkeys(record for records in each for record in records))


def _tell_records(keys: "Sequence[SenderKey]", records: "Sequence[Record]", *, as_json: bool) -> None:
    from cartwheel.views import mailviews, terminal

    if as_json:
        data = {"keys": [mailviews.key_data(key) for key in keys]}
        terminal.show_json(data | {"records": [mailviews.record_data(record) for record in records]})
    else:
        terminal.show(*mailviews.records(records))


# -- the test mailbox --


@mailbox_cli.command("list")
def list_mailbox(account: AccountName = None, most: Most = 50, *, as_json: AsJson = False) -> None:
    """List what is kept in the test mailbox, newest first."""
    from cartwheel.cli import context
    from cartwheel.data import mailbox
    from cartwheel.views import mailviews, terminal

    with context.opened(account) as (database, owner), database.read() as connection:
        kept = mailbox.kept(connection, owner.id, most)
    if as_json:
        terminal.show_json([mailviews.kept_data(mail) for mail in kept])
    else:
        terminal.show(*mailviews.kept(kept, owner.zone))


@mailbox_cli.command("show")
def show_mail(
    number: MailNumber,
    account: AccountName = None,
    lead: OfLead = None,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="The bytes as they would have gone out.")] = False,
    html: Annotated[bool, typer.Option("--html", help="The HTML part.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a mail of the test mailbox: its headers and its text.

    cartwheel mailbox show 1767225600000000 --html > mail.html
    """
    from cartwheel.cli import context
    from cartwheel.data import mailbox
    from cartwheel.views import mailviews, terminal

    if raw + html + as_json > 1:
        raise typer.BadParameter("--raw, --html and --json are three ways: choose one")
    with context.opened(account) as (database, owner):
        asked = _lead_id(database, owner, lead)
        with database.read() as connection:
            found = mailbox.leads_of(connection, owner.id, number) if asked is None else [asked]
            lead_id = _only(found, number)
            message = mailbox.message(connection, owner.id, lead_id, number)
    if message is None:
        raise NoSuchName(f"the test mailbox has no mail {number}")
    if raw:
        sys.stdout.buffer.write(message)
        return
    letter = mailbox.read(message)
    if html:
        sys.stdout.write(letter.html)
    elif as_json:
        terminal.show_json(mailviews.letter_data(letter))
    else:
        terminal.show(*mailviews.letter(letter))


@mailbox_cli.command("clear")
def clear_mailbox(account: AccountName = None) -> None:
    """Throw everything in the test mailbox away."""
    from cartwheel.cli import context
    from cartwheel.data import mailbox

    with context.opened(account) as (database, owner), database.write() as connection:
        cleared = mailbox.clear(connection, owner.id)
    typer.echo(f"{cleared:,} {'mail is' if cleared == 1 else 'mails are'} gone.")


# -- the ledger --


@mail_cli.command("list")
def list_mails(
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE", help="Only those that are so: queued, failed, 'in doubt', …", show_default=False),
    ] = None,
    lead: OfLead = None,
    account: AccountName = None,
    most: Most = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """List mails of the ledger, newest first: each mail that was ever due, and what became of it.

    cartwheel mail list --state "in doubt"
    """
    from cartwheel.cli import context
    from cartwheel.data import mailstore
    from cartwheel.leads.mails import MailState
    from cartwheel.views import mailviews, terminal

    if state is not None and state not in set(MailState):
        raise typer.BadParameter(f"a mail is {', '.join(MailState)}", param_hint="--state")
    with context.opened(account) as (database, owner):
        lead_id = _lead_id(database, owner, lead)
        with database.read() as connection:
            wanted = MailState(state) if state else None
            mails = mailstore.listed(connection, owner.id, state=wanted, lead_id=lead_id, most=most)
    if as_json:
        terminal.show_json([mailviews.mail_data(entry, owner) for entry in mails])
    else:
        terminal.show(*mailviews.mails(mails, owner))


@mail_cli.command("resend")
def resend(
    numbers: MailNumbers = None,
    account: AccountName = None,
    lead: OfLead = None,
    reason: Reason = "sent again by the command line",
    failed: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Instead, all mails that failed before any server took them, and of which the ledger says this.",
            show_default=False,
        ),
    ] = None,
    *,
    every: All = False,
    as_json: AsJson = False,
) -> None:
    """Send mails in doubt once more, or mails that failed. Whoever did get one gets it twice.

    A mail is in doubt when nobody can tell whether the mail server took it. One that failed before any server took it is
    sent again, too, unless its lead is not mailed any more. `mail list` shows the numbers.

    cartwheel mail resend --failed "not owned by user" --reason "the relay knows the sender now"
    """
    _decide(numbers, account, lead, reason, every=every, again=True, failed=failed, as_json=as_json)


@mail_cli.command("drop")
def drop(
    numbers: MailNumbers = None,
    account: AccountName = None,
    lead: OfLead = None,
    reason: Reason = "given up by the command line",
    sequence: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --queued: the sequence.", show_default=False)
    ] = None,
    *,
    every: All = False,
    queued: Annotated[
        bool, typer.Option("--queued", help="Instead, all mails of --sequence that are queued, and not sent yet.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give mails in doubt up, or those that a sequence has queued: they count as failed. Whoever did not get one never does.

    Who is in the sequence goes on in it, and gets its next mails: pause it first, if it is not to queue more.

    cartwheel mail drop --queued --sequence Welcome --reason "the offer is over"
    """
    if queued != (sequence is not None) or (queued and (numbers or every or lead)):
        raise typer.BadParameter("--queued and --sequence belong together, and stand alone")
    if sequence is not None:
        _drop_queued(sequence, account, reason, as_json=as_json)
    else:
        _decide(numbers, account, lead, reason, every=every, again=False, as_json=as_json)


def _drop_queued(sequence: str, account: str | None, reason: str, *, as_json: bool) -> None:
    import asyncio

    from cartwheel import times
    from cartwheel.cli import context
    from cartwheel.views import terminal
    from cartwheel.work import mailwork

    with context.opened(account) as (database, owner):
        place = (owner.id, context.find_sequence(owner, sequence).id)
        dropped = asyncio.run(mailwork.drop_queued(database, place, reason=reason, origin=ORIGIN, clock=times.now))
    if as_json:
        terminal.show_json({"dropped": dropped})
    else:
        typer.echo(f"{dropped:,} {'mail is' if dropped == 1 else 'mails are'} given up.")


def _decide(
    numbers: list[int] | None,
    account: str | None,
    lead: str | None,
    reason: str,
    *,
    every: bool,
    again: bool,
    failed: str | None = None,
    as_json: bool,
) -> None:
    from cartwheel.cli import context
    from cartwheel.views import mailviews, terminal
    from cartwheel.work.leadwork import DoubtWork

    if bool(numbers) + every + bool(failed) != 1:
        raise typer.BadParameter("give the numbers of the mails, or --all" + (", or --failed TEXT" if again else ""))
    with context.opened(account) as (database, owner):
        found = _failed(database, owner, lead, failed) if failed else _in_doubt(database, owner, lead, numbers)

        async def decide(batches: "Batches") -> "list[Listed]":
            decided = []
            for entry in found:
                key = (owner.id, entry.lead_id)
                work = DoubtWork(key, entry.mail.key, again=again, reason=reason, origin=ORIGIN)
                with suppress(NotInDoubt) if failed else nullcontext():  # whose leads are not mailed stay as they are
                    decided.append(entry._replace(mail=await batches.submit(work)))
            return decided

        decided = context.with_batches(database, decide)
    if as_json:
        terminal.show_json([mailviews.mail_data(entry, owner) for entry in decided])
    else:
        terminal.show(*mailviews.mails(decided, owner))


def _in_doubt(database: "Database", owner: "Account", lead: str | None, numbers: list[int] | None) -> "list[Listed]":
    """The mails of these numbers, whatever their state, or all that are in doubt."""
    from cartwheel.data import mailstore
    from cartwheel.leads.mails import MailState

    lead_id = _lead_id(database, owner, lead)
    with database.read() as connection:
        if not numbers:
            return mailstore.listed(connection, owner.id, state=MailState.IN_DOUBT, lead_id=lead_id)
        found = []
        for number in numbers:
            mails = mailstore.listed(connection, owner.id, number=number, lead_id=lead_id)
            _only([entry.lead_id for entry in mails], number)
            found += mails
        return found


def _failed(database: "Database", owner: "Account", lead: str | None, said: str) -> "list[Listed]":
    """The mails that failed before any server took them, with this in what is said of them."""
    from cartwheel.data import mailstore
    from cartwheel.leads.mails import MailState

    lead_id = _lead_id(database, owner, lead)
    with database.read() as connection:
        found = mailstore.listed(connection, owner.id, state=MailState.FAILED, lead_id=lead_id)
    return [entry for entry in found if entry.mail.never_taken and said.casefold() in entry.mail.reply.casefold()]


def _lead_id(database: "Database", owner: "Account", lead: str | None) -> int | None:
    from cartwheel.cli import context

    return None if lead is None else context.find_lead(database, owner, lead)[1]


def _only(lead_ids: "Sequence[int]", number: int) -> int:
    """The one lead that has a mail of this number."""
    if len(lead_ids) > 1:
        raise NoSuchName(f"several leads have a mail {number}: name one of them with --lead")
    if not lead_ids:
        raise NoSuchName(f"there is no mail {number}")
    return lead_ids[0]


# -- bounces --


def bounce(*, as_json: AsJson = False) -> None:
    """Read one mail on stdin, and record the bounce or the complaint that it reports.

    It is for an alias of a mail server. Whatever the mail is, the exit code is 0; it is 75 when the database is away or a
    setting is wrong, by which mail servers know that they have to try again.

    cartwheel bounce < mail.eml
    """
    from cartwheel.bounces.mailparts import MOST_BYTES
    from cartwheel.cli import context
    from cartwheel.data import signingkeys
    from cartwheel.sending import bouncereader
    from cartwheel.views import mailviews, terminal

    if sys.stdin.isatty():
        raise typer.BadParameter("a mail is expected on stdin")
    raw = sys.stdin.buffer.read(MOST_BYTES)
    while sys.stdin.buffer.read(MOST_BYTES):  # or else who writes it is in trouble
        pass
    try:
        with context.open_database() as database:
            signer = signingkeys.link_signer(database)
            told = context.with_batches(database, lambda batches: bouncereader.hear(raw, batches, database, signer))
    except CartwheelError as trouble:
        typer.echo(f"cartwheel: not recorded, has to come again: {' '.join(str(trouble).split())}", err=True)
        raise typer.Exit(os.EX_TEMPFAIL) from None
    if as_json:
        terminal.show_json(mailviews.heard_data(told))
    else:
        typer.echo(f"cartwheel: {mailviews.heard(told)}", err=True)
