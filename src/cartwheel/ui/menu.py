"""The menu: what stands beside every page, in its order. A page names its entry."""

from dataclasses import dataclass

from cartwheel.people import Right


def _(text: str) -> str:
    """Marks a text for translation; it is translated where it is shown."""
    return text


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry; its page may need more than `right`."""

    name: str
    label: str
    path: str
    icon: str
    right: Right = Right.ACCOUNT_READ


@dataclass(frozen=True, slots=True)
class Group:
    label: str
    entries: tuple[Entry, ...]


MENU = (
    Group("", (Entry("dashboard", _("Dashboard"), "/", icon="home"),)),
    Group(
        _("Audience"),
        (
            Entry("leads", _("Leads"), "/leads", icon="users", right=Right.LEADS_READ),
            Entry("lists", _("Lists"), "/communication/lists", icon="list-details"),
            Entry("tags", _("Tags"), "/communication/tags", icon="tags"),
            Entry("fields", _("Custom fields"), "/communication/custom-fields", icon="forms"),
        ),
    ),
    Group(
        _("Communication"),
        (
            Entry("sequences", _("Sequences"), "/communication/sequences", icon="route"),
            Entry("automations", _("Automations"), "/communication/automations", icon="bolt"),
            Entry("mail", _("Mail"), "/mail", icon="mail", right=Right.LEADS_READ),
            Entry("mailbox", _("Test mailbox"), "/mail/test", icon="mailbox", right=Right.LEADS_READ),
            Entry(
                "suppressions", _("Suppressed addresses"), "/mail/suppressed", icon="mail-off", right=Right.LEADS_READ
            ),
        ),
    ),
    Group(
        _("Integrations"),
        (
            Entry("keys", _("API key"), "/integrations/api/key", icon="key", right=Right.INTEGRATIONS),
            Entry("apps", _("Apps"), "/integrations/api/developers", icon="apps", right=Right.INTEGRATIONS),
            Entry("tokens", _("Tokens"), "/integrations/api/tokens", icon="ticket", right=Right.INTEGRATIONS),
            Entry("calls", _("API inspector"), "/integrations/api/calls", icon="activity", right=Right.INTEGRATIONS),
            Entry("webhooks", _("Webhooks"), "/integrations/webhooks", icon="webhook", right=Right.INTEGRATIONS),
            Entry("explorer", _("API explorer"), "/integrations/api/explorer", icon="code", right=Right.INTEGRATIONS),
        ),
    ),
    Group(
        _("Settings"),
        (
            Entry("account", _("Account"), "/settings", icon="settings", right=Right.SETTINGS),
            Entry("domains", _("Sender domains"), "/settings/domains", icon="world", right=Right.SETTINGS),
            Entry("servers", _("Mail servers"), "/settings/servers", icon="server", right=Right.SETTINGS),
            Entry("people", _("People"), "/settings/people", icon="users-group", right=Right.PEOPLE),
            Entry("audit", _("Audit log"), "/settings/audit", icon="history", right=Right.PEOPLE),
        ),
    ),
)

NAMES = frozenset(entry.name for group in MENU for entry in group.entries) | {"profile", ""}
"""`profile` is the person's own corner; pages before the sign-in have no entry."""
