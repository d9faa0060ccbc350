"""An account as it looks after some months, with names that people with bad intentions would choose among the usual ones."""

from email.message import EmailMessage
from html import escape

import sqlalchemy as sa
from cast import Person

from cartwheel.accounts import name_key
from cartwheel.data import schema
from cartwheel.imports.running import ImportRunner
from cartwheel.times import to_micros
from cartwheel.ui import forgery
from harness import DEMO, Api, Server, new_api

SCRIPT = "<script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>"
EMOJI = "Käse 🧀 & Wein 🍷 für Łukasz"
ARABIC = "نشرة الأخبار الشهرية \u202e(2026)"
LONG = "Donaudampfschifffahrtsgesellschaftskapitänswitwenrente" * 4

HOSTILE = (SCRIPT, EMOJI, ARABIC, LONG[:200])

LEADS = 60


def fill(server: Server) -> Api:
    """Leads with lists, tags, fields and points; a sequence that some are in, and its mails."""
    api = new_api(server, account={"name": f"{EMOJI} {ARABIC}"}, file=DEMO.replace("shoe_size", "s" * 100))
    now = to_micros(server.clock())
    for table in (schema.lists, schema.tags):
        rows = [
            {
                "account_id": api.account_id,
                "id": 100 + number,
                "name": name,
                "name_key": name_key(name),
                "created_at": now,
                **({"public_name": name} if table is schema.lists else {}),
            }
            for number, name in enumerate(HOSTILE)
        ]
        with server.database.write() as connection:
            connection.execute(sa.insert(table), rows)
    with server.database.write() as connection:
        connection.execute(sa.update(schema.catalog_version).values(version=schema.catalog_version.c.version + 1))
        version = sa.select(schema.catalog_version.c.version).scalar_subquery()
        connection.execute(sa.update(schema.accounts).values(version=version))
    for number in range(LEADS):
        _lead(api, number)
    _mails(api, now)
    return api


def _lead(api: Api, number: int) -> None:
    name = HOSTILE[number % 15] if number % 15 < len(HOSTILE) else f"Ada {number}"
    lead = {"email": f"lead{number}@shop.example", "first_name": name[:100], "city": "Łódź", "notes": name}
    actions = [
        {"cmd": "create_lead"},
        {"cmd": "subscribe_lead_to_list", "list_name": ("Newsletter", *HOSTILE)[number % 5]},
        {"cmd": "assign_tag", "tag_name": ("Customer", *HOSTILE)[number % 5]},
        {"cmd": "give_points_to_lead", "points": str(number + 1)},
    ]
    if number % 2:
        actions.append({"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "Welcome", "step": "1"})
    answer = api.call(*actions, lead=lead)
    assert "Error" not in str(answer), answer


def _mails(api: Api, now: int) -> None:
    """One in each state that mails can be in for long."""
    runs = api.rows(schema.enrolments)
    states = ("accepted", "accepted", "accepted", "failed", "in doubt", "suppressed")
    rows = [
        {
            "account_id": api.account_id,
            "lead_id": run["lead_id"],
            "id": run["id"],
            "run": run["id"],
            "move": 1,
            "sequence_id": run["sequence_id"],
            "version": run["version"],
            "box": "1",
            "state": states[number % len(states)],
            "queued_at": now - number * 3_600_000_000,
            "attempts": 1,
            "soft": 0,
            "address": f"lead@{number}.shop.example",
            "server": "mail.example",
            "reply": f"250 {SCRIPT}",
            "sent_at": now - number * 3_600_000_000 if number % len(states) < 3 else None,
            "waits_for": "",
        }
        for number, run in enumerate(runs)
    ]
    with api.server.database.write() as connection:
        connection.execute(sa.insert(schema.mails), rows)


def furnish(api: Api, boss: Person) -> dict[str, str]:
    """What an owner makes on the pages: a mail server, a sender domain, work on many leads, a segment, somebody who is invited.

    Returns the addresses of pages that no link, but a form leads to.
    """
    boss.post("/settings/servers/new", host="mail.example", port="587", security="starttls", do="keep")
    boss.post("/settings/domains", domain="shop.example")
    boss.post("/settings/people", email="new@shop.example", role="viewer")
    boss.post("/mail/suppressed", email="nobody@shop.example", details=SCRIPT)
    boss.post("/leads/segments", name=EMOJI, filter="")
    work = boss.post("/leads/bulk", act="give_points", points="7", whom="all").headers["location"]
    asked = {"when.type": "assign_tag", "when.tag": SCRIPT, "condition.type": "on_list", "condition.list": EMOJI}
    done = {"then.0.type": "assign_tag", "then.0.tag": ARABIC, "then.1.type": "points", "then.1.points": "5"}
    boss.post("/communication/automations/add", name=SCRIPT, **asked, **done)
    api.on("lead7@shop.example", "assign_tag", tag_name=SCRIPT)
    _letters(api)
    draft, job = (
        _upload(api, boss, f"email,{SCRIPT},tags\nlead{number}@shop.example,x,{EMOJI}\nnobody\n") for number in (1, 2)
    )
    boss.post(job, column0="email", column2="tags", batch_tag=ARABIC, do="run")
    runner = ImportRunner(api.server.database, clock=api.server.clock)

    async def rounds() -> None:
        await runner.round()
        await runner.close()

    api.server.run(rounds)
    _webhooks(api, boss)
    return {
        "/leads/bulk": "/leads/bulk?act=give_points&whom=all",
        "/leads/bulk/{number:int}": work,
        "/leads/import/{number:int}": draft,
        "/leads/import/{number:int}/refused": f"{job}/refused",
        "/mail/suppressed/allow": "/mail/suppressed/allow?email=nobody@shop.example",
    }


def _upload(api: Api, boss: Person, text: str) -> str:
    """The page of the import."""
    files = {"file": (f"{EMOJI}.csv", text.encode(), "text/csv")}
    answer = boss.http.post("/leads/import", data={"csrf": forgery.token(boss.cookie)}, files=files)
    assert answer.is_redirect, (api.account_id, answer.text)
    return answer.headers["location"]


def _webhooks(api: Api, boss: Person) -> None:
    """One that was told something, took it, and is paused; and one that is running."""
    for name in (EMOJI, SCRIPT):
        events = ["assign_tag", "reaches_score"]
        fields = {
            "url": "https://hook.example/" + "x" * 200,
            "name": name,
            "events": events,
            "score": "5",
            "enabled": "on",
        }
        made = boss.post("/integrations/webhooks/new", **fields).headers["location"]
        boss.post(f"{made}/test", event="assign_tag")
    boss.post(f"{made}/pause")
    with api.server.database.write() as connection:
        tried = {"state": "parked", "next_at": None, "attempts": 9, "tried_at": to_micros(api.server.clock())}
        answer = {"status": 500, "answer": SCRIPT, "trouble": "", "micros": 1234}
        connection.execute(sa.update(schema.hook_deliveries).values(**tried, **answer))


def _letters(api: Api) -> None:
    """In the test mailbox, with a file each."""
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = "Shop <hello@shop.example>", "ada@shop.example", EMOJI
    letter.set_content(LONG)
    letter.add_alternative(
        f"<h1>{EMOJI}</h1><p dir='rtl'>{ARABIC}</p><p>{escape(SCRIPT)}</p><p>{LONG}</p>", subtype="html"
    )
    letter.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename=f"{LONG[:60]}.pdf")
    rows = [
        {
            "account_id": api.account_id,
            "lead_id": mail["lead_id"],
            "mail": mail["id"],
            "at": mail["queued_at"],
            "sender": "hello@shop.example",
            "recipient": mail["address"],
            "subject": HOSTILE[number % len(HOSTILE)],
            "message": letter.as_bytes(),
        }
        for number, mail in enumerate(api.rows(schema.mails))
    ]
    with api.server.database.write() as connection:
        connection.execute(sa.insert(schema.test_mailbox), rows)
