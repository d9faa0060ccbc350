"""Sender domains: the keys that sign their mail, and what their DNS has to say."""

from cartwheel.data import signingkeys
from cartwheel.data.signingkeys import SenderKey
from cartwheel.errors import NameTaken
from cartwheel.mail.dkim import Algorithm, CannotSign
from cartwheel.people import Right
from cartwheel.ui import dnscheck, mailservers
from cartwheel.ui.dnscheck import Checked
from cartwheel.ui.registry import page
from cartwheel.ui.slots import Busy
from cartwheel.ui.visits import Answer, NotThere, Undo, Visit

HERE = "/settings/domains"


@page(HERE, menu="domains", right=Right.SETTINGS)
def show_domains(visit: Visit) -> Answer:
    return visit.show("domains.html", domains=_domains(visit))


def _domains(visit: Visit, only: str | None = None) -> dict[str, list[SenderKey]]:
    with visit.database.read() as connection:
        found = signingkeys.stored(connection, visit.account.id, only)
    domains: dict[str, list[SenderKey]] = {}
    for key in found:
        domains.setdefault(key.signer.domain, []).append(key)
    return domains


@page(HERE, menu="domains", right=Right.SETTINGS, post=True)
def add_domain(visit: Visit) -> Answer:
    """Made a key for a sender domain."""
    domain, kind = visit.text("domain", 254).lower().rpartition("@")[2], visit.text("algorithm") or Algorithm.RSA
    if kind not in set(Algorithm):
        raise NotThere
    try:
        signingkeys.add(visit.database, visit.account.id, domain, f"cartwheel-{kind}", Algorithm(kind), visit.now)
    except CannotSign:
        told = visit._("A domain like shop.example, please.")
        return visit.refuse("domains.html", {"domain": told}, domains=_domains(visit))
    except NameTaken:
        told = visit._("This domain has such a key already.")
        return visit.refuse("domains.html", {"domain": told}, domains=_domains(visit))
    visit.about(f"{domain} ({kind})")
    told = visit._("Mail from %s is signed from now on. Receivers believe it when the DNS has these records.")
    return visit.redirect(f"{HERE}/{domain}", told % domain)


@page(f"{HERE}/{{domain}}", menu="domains", right=Right.SETTINGS)
def show_domain(visit: Visit) -> Answer:
    keys = _domains(visit, visit.path["domain"]).get(visit.path["domain"].lower())
    if not keys:
        raise NotThere
    domain, signers = keys[0].signer.domain, [key.signer for key in keys]
    if "check" in visit.query:
        try:
            with visit.house.slots.one(visit.account.id):
                hasty = dnscheck.Hasty(visit.house.dns)
                checked, spf = dnscheck.check(hasty, signers), dnscheck.spf(hasty, domain)
        except Busy:
            return visit.redirect(f"{HERE}/{domain}", mailservers.busy(visit), alarming=True)
    else:
        checked, spf = [Checked(record) for record in dnscheck.records(signers)], None
    return visit.show("domain.html", domain=domain, keys=keys, checked=checked, asked="check" in visit.query, spf=spf)


@page(f"{HERE}/remove", menu="domains", right=Right.SETTINGS, post=True)
def remove_key(visit: Visit) -> Answer:
    """Removed a sender domain's key."""
    domain, selector = visit.text("domain", 254), visit.text("selector", 64)
    if not signingkeys.lay_aside(visit.database, visit.account.id, domain, selector, visit.now):
        raise NotThere
    visit.about(f"{domain} ({selector})")
    told = visit._("Mail from %s is not signed with this key any more. Leave its DNS record for a week: mail is late.")
    return visit.redirect(HERE, told % domain, Undo(f"{HERE}/restore", {"domain": domain, "selector": selector}))


@page(f"{HERE}/restore", menu="domains", right=Right.SETTINGS, post=True)
def restore_key(visit: Visit) -> Answer:
    """Took a sender domain's key back."""
    domain, selector = visit.text("domain", 254), visit.text("selector", 64)
    if not signingkeys.take_back(visit.database, visit.account.id, domain, selector):
        raise NotThere
    visit.about(f"{domain} ({selector})")
    return visit.redirect(HERE, visit._("Mail from %s is signed with this key again.") % domain)
