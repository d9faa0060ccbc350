"""Names and addresses are looked for without case and accents: the form in which they are found stands beside them."""

import sqlalchemy as sa

from cartwheel.leads.searchkeys import search_key

AT_ONCE = 5000

COLUMNS = (("email", "email_key"), ("first_name", "first_key"), ("last_name", "last_key"))

_FOUND = "coalesce((SELECT written.key FROM written WHERE written.text = leads.{}), '')"

INDEXES = (
    "DROP INDEX leads_first_name",
    "DROP INDEX leads_last_name",
    "CREATE INDEX leads_email_key ON leads (account_id, email_key{ops}) WHERE email_key <> ''",
    "CREATE INDEX leads_first_key ON leads (account_id, first_key{ops}, last_key{ops}) WHERE first_key <> ''",
    "CREATE INDEX leads_last_key ON leads (account_id, last_key{ops}, first_key{ops}) WHERE last_key <> ''",
)


def up(connection: sa.Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    for _, key in COLUMNS:
        connection.execute(sa.text(f"ALTER TABLE leads ADD COLUMN {key} TEXT NOT NULL DEFAULT ''"))
    _note_texts(connection, "email GLOB '*[^ -~]*'" if sqlite else "email ~ '[^ -~]'")
    _make_keys(connection)
    sets = ", ".join(f"{key} = {_FOUND.format(text)}" for text, key in COLUMNS)
    filled = " OR ".join(f"{text} <> ''" for text, _ in COLUMNS[1:])
    connection.execute(
        sa.text(f"UPDATE leads SET {sets} WHERE {filled} OR EXISTS (SELECT 1 FROM written WHERE text = email)")
    )
    connection.execute(sa.text("DROP TABLE written"))
    for sql in INDEXES:
        connection.execute(sa.text(sql.format(ops="" if sqlite else " text_pattern_ops")))


def _note_texts(connection: sa.Connection, foreign: str) -> None:
    """Each text once, however many leads have it: `written`."""
    connection.execute(sa.text("CREATE TEMPORARY TABLE written (text TEXT PRIMARY KEY, key TEXT NOT NULL)"))
    texts = ("first_name FROM leads", "last_name FROM leads", f"email FROM leads WHERE {foreign}")
    each = " UNION ".join(f"SELECT {text}" for text in texts)
    connection.execute(sa.text(f"INSERT INTO written SELECT *, '' FROM ({each}) AS texts"))


def _make_keys(connection: sa.Connection) -> None:
    """Some at a time, so that they need not all be in memory."""
    following = sa.text("SELECT text FROM written WHERE text > :last ORDER BY text LIMIT :most")
    last = ""  # the empty text keeps its empty key
    while texts := connection.execute(following, {"last": last, "most": AT_ONCE}).scalars().all():
        rows = [{"text": text, "key": search_key(text)} for text in texts]
        connection.execute(sa.text("UPDATE written SET key = :key WHERE text = :text"), rows)
        last = texts[-1]
