"""What people see in a terminal of a simulated lead, and of the answer to `why`."""

from collections.abc import Iterator, Sequence

from rich.text import Text

from cartwheel.sequences import telling
from cartwheel.simulation.stories import Ended, Happening, Story, StoryMail, Tally, What
from cartwheel.views import terminal
from cartwheel.views.asking import Answer
from cartwheel.views.why import About

_STYLES = {
    What.MAIL: "bold green",
    What.NO_MAIL: "red",
    What.WAITS: "dim",
    What.WHAT_IF: "bold magenta",
    What.REFUSED: "bold red",
    What.STARTS: "bold",
    What.ENDS: "bold",
}


def lines(story: Story) -> Iterator[Text]:
    """Line by line what happens, and how it ends."""
    account = story.account
    yield Text.assemble(terminal.plain(story.lead.email, "bold"), " in ", terminal.plain(story.sequence, "bold"))
    zone = telling.lead_zone(story.lead)
    theirs = f", the lead's {zone.key}" if zone and zone.key != account.zone.key else ""
    yield terminal.plain(f"{account.name} · {account.zone.key} time{theirs}", "dim")
    yield Text()
    yield from terminal.indented(terminal.columns(_line(story, event) for event in story.events))
    yield Text()
    for note in story.notes:
        yield terminal.plain(f"Note: {note}.", "yellow")
    yield terminal.plain(_end(story), "bold")


def _line(story: Story, event: Happening) -> list[Text]:
    several = {entry.sequence for entry in story.events} - {"", story.sequence}
    place = f"{event.sequence} {event.box}".strip() if several else event.box
    at = telling.clock(event.at, story.account.zone, telling.lead_zone(story.lead))
    style = _STYLES.get(event.what, "")
    return [
        Text(at.removesuffix(" for the lead)") + ")" * at.endswith(" for the lead)"), "dim"),
        terminal.plain(place),
        Text(event.what, style),
        terminal.plain(event.text, "dim" if event.what is What.WAITS else ""),
    ]


def _end(story: Story) -> str:
    count = f"{len(story.mails)} {'mail' if len(story.mails) == 1 else 'mails'}"
    at = telling.clock(story.ended_at, story.account.zone)
    if story.ended is Ended.TIME_IS_UP:
        return f"{count} until {at}, where the time is up (--for); it still waits {story.reason}."
    if story.ended is Ended.WAITING:
        return f"{count}; since {at} it waits {story.reason}."
    why = f": {story.reason}" if story.reason else ""
    return f"{count}; {story.ended} on {at}{why}."


def mails(sent: Sequence[StoryMail]) -> Iterator[Text]:
    """Each as a mail program shows it that shows no HTML."""
    for number, mail in enumerate(sent):
        if number:
            yield Text()
        yield terminal.plain(f"{mail.at:%a %Y-%m-%d %H:%M}", "dim")
        yield terminal.plain(mail.subject, "bold")
        yield Text()
        for line in mail.text.rstrip().splitlines():
            yield terminal.plain(line.expandtabs())


def counts(tally: Tally) -> Iterator[Text]:
    """How many came to each step, and how it ended for them."""
    several = len({sequence for sequence, _ in tally.boxes}) > 1
    rows = [[Text(head, "dim") for head in ("step", "leads", "", "mails")]]
    for sequence, box in tally.boxes:
        came, mails = tally.came[sequence, box], tally.mails[sequence, box]
        rows.append(
            [
                terminal.plain(f"{sequence} {box}" if several else box),
                Text(f"{came:>7,}"),
                Text(f"{came / tally.leads:>6.1%}", "dim"),
                Text(f"{mails:>7,}" if mails else ""),
            ]
        )
    yield Text(f"{tally.leads:,} leads", "bold")
    yield Text()
    yield from terminal.indented(terminal.columns(rows))
    yield Text()
    yield terminal.plain(", ".join(f"{count:,} {how}" for how, count in tally.ended.most_common()) + ".")


# -- why --


def answer(told: Answer) -> Iterator[Text]:
    """A sentence a line; what keeps mail from the lead stands out."""
    for fact in told.facts:
        margin = "  " if fact.about in {About.STEP, About.MAIL} else ""
        number = f"  [{fact.mail}]" if fact.mail is not None else ""
        yield Text.assemble(margin, terminal.plain(fact.text, "bold red" if fact.stops else ""), (number, "dim"))
