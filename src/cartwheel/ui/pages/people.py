"""Who works on the account, and who is invited to."""

from typing import Any

from cartwheel.data import userstore
from cartwheel.data.userstore import Member
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.people import LinkKind, OneTimeLink, Right, Role, User
from cartwheel.phrases import form
from cartwheel.ui import entering, invitations, passwords
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Undo, Visit

HERE = "/settings/people"


@page(HERE, menu="people", right=Right.PEOPLE)
def show_people(visit: Visit) -> Answer:
    return visit.show("people.html", **_context(visit))


def _context(visit: Visit) -> dict[str, Any]:
    with visit.database.read() as connection:
        members = userstore.members(connection, visit.account.id)
        waiting = userstore.invitations(connection, visit.account.id, visit.now)
    owners = [member.user.id for member in members if member.role is Role.OWNER]
    return {
        "members": members,
        "invitations": waiting,
        "last_owner": owners[0] if len(owners) == 1 else 0,
        "roles": _roles(visit),
        "link": "",
        "mailed": None,
    }


def _roles(visit: Visit) -> list[tuple[str, str, str]]:
    return [
        (Role.OWNER, visit._("Owner"), visit._("Everything, people and settings included")),
        (Role.MARKETER, visit._("Marketer"), visit._("Leads, lists, sequences and mail")),
        (Role.INTEGRATOR, visit._("Integrator"), visit._("API key, Apps and custom fields; sees the rest")),
        (Role.VIEWER, visit._("Viewer"), visit._("Sees, and changes nothing")),
    ]


# -- members --


@page(f"{HERE}/role", menu="people", right=Right.PEOPLE, post=True)
def change_role(visit: Visit) -> Answer:
    """Gave somebody another role."""
    member, role = _member(visit), visit.text("role")
    if role not in set(Role):
        raise NotThere
    with visit.database.write() as connection:
        last = role != Role.OWNER and userstore.is_last_owner(connection, visit.account.id, member.user.id)
        if not last:
            userstore.put_member(connection, visit.account.id, member.user.id, Role(role), visit.now)
    if last:
        return _keep_the_owner(visit)
    visit.about(f"{member.user.email}: {role}")
    undo = Undo(f"{HERE}/role", {"user": str(member.user.id), "role": member.role.value})
    return visit.redirect(HERE, visit._("%s has another role now.") % _name(member), undo)


@page(f"{HERE}/remove", menu="people", right=Right.PEOPLE, post=True)
def remove_person(visit: Visit) -> Answer:
    """Removed somebody from the account."""
    member = _member(visit)
    with visit.database.write() as connection:
        last = userstore.is_last_owner(connection, visit.account.id, member.user.id)
        if not last:
            userstore.remove_member(connection, visit.account.id, member.user.id)
    if last:
        return _keep_the_owner(visit)
    visit.about(member.user.email)
    told = visit._("%s is no longer a member, and signed out. If that was a mistake, invite them again.")
    return visit.redirect(HERE, told % _name(member))


def _member(visit: Visit) -> Member:
    number = visit.number("user")
    with visit.database.read() as connection:
        for member in userstore.members(connection, visit.account.id):
            if member.user.id == number:
                return member
    raise NotThere


def _name(member: Member) -> str:
    return member.user.name or member.user.email


def _keep_the_owner(visit: Visit) -> Answer:
    told = visit._("An account needs an owner: make somebody else one first.")
    return visit.redirect(HERE, told, alarming=True)


# -- invitations --


@page(HERE, menu="people", right=Right.PEOPLE, post=True)
def invite(visit: Visit) -> Answer:
    """Invited somebody."""
    errors, role, email = {}, visit.text("role"), ""
    try:
        email = read_email(visit.text("email"))
    except EmailNotValid:
        errors["email"] = visit._("This is no e-mail address.")
    context = _context(visit)
    if email in {member.user.email for member in context["members"]}:
        errors["email"] = visit._("This person is a member already.")
    if role not in set(Role):
        errors["role"] = visit._("Please choose a role.")
    if errors:
        return visit.refuse("people.html", errors, **context)
    link = invitations.make(visit, email, Role(role))
    mailed = invitations.send(visit, email, link)
    visit.about(f"{email}: {role}")
    return visit.show("people.html", **_context(visit) | {"link": link, "mailed": mailed, "invited": email})


@page(f"{HERE}/revoke", menu="people", right=Right.PEOPLE, post=True)
def revoke_invitation(visit: Visit) -> Answer:
    """Took an invitation back."""
    email = visit.text("email")
    with visit.database.write() as connection:
        if not userstore.revoke_invitation(connection, visit.account.id, email):
            raise NotThere
    visit.about(email)
    return visit.redirect(HERE, visit._("The invitation of %s does not work any more.") % email)


@page("/invitation/{token}", open=True)
def show_invitation(visit: Visit) -> Answer:
    link = _invitation(visit)
    return visit.show("invitation.html", **_invited(visit, link))


@page("/invitation/{token}", open=True, post=True)
def accept_invitation(visit: Visit) -> Answer:
    link = _invitation(visit)
    user = _invited(visit, link)["known"]
    password = entering.secret_text(visit, "password")
    errors, name = {}, visit.text("name", 100)
    if user is not None:
        if isinstance(told := entering.whose(visit, link.email, password), str):
            errors["password"] = told
    else:
        if not name:
            errors["name"] = visit._("How may we call you?")
        if told := passwords.complaint(visit, password, link.email):
            errors["password"] = told
    if errors:
        return visit.refuse("invitation.html", errors, **_invited(visit, link))
    hashed = "" if user is not None else passwords.hash_password(password)
    with visit.database.write() as connection:
        if not userstore.may_still_invite(connection, link) or not userstore.use_link(connection, link):
            raise NotThere
        if user is None:
            user = userstore.add(connection, link.email, name, hashed, visit.now)
        if userstore.role_in(connection, link.account_id, user.id) is None:
            userstore.put_member(connection, link.account_id, user.id, link.role, visit.now)
            userstore.audit(
                connection, link.account_id, visit.now, user, form("Accepted an invitation"), link.role.value
            )
    return entering.proceed(visit, user, link.account_id, "/")


def _invitation(visit: Visit) -> OneTimeLink:
    link = entering.link(visit, LinkKind.INVITATION)
    with visit.database.read() as connection:
        valid = link.account_id in visit.catalog.accounts and userstore.may_still_invite(connection, link)
    if not valid:
        raise NotThere
    return link


def _invited(visit: Visit, link: OneTimeLink) -> dict[str, Any]:
    """What the page shows; `known` is the person if there is a login with this address."""
    with visit.database.read() as connection:
        known: User | None = userstore.user_of(connection, link.email)
    role = {name: (label, help_) for name, label, help_ in _roles(visit)}[link.role]
    return {"email": link.email, "role": role, "where": visit.catalog.accounts[link.account_id].name, "known": known}
