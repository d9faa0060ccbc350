"""What a run or a mail waits for is said by columns of their own, and no longer by how a text begins."""

import sqlalchemy as sa

PAUSED = "the sequence is paused"
FOR_THE_OWNER = "an owner has to see to it: "
OWN_FAILURE = "Cartwheel failed: "

COLUMNS = """
ALTER TABLE enrolments ADD COLUMN held BOOLEAN NOT NULL DEFAULT FALSE;
DROP INDEX enrolments_held;
CREATE INDEX enrolments_held ON enrolments (account_id, sequence_id) WHERE held;
ALTER TABLE mails ADD COLUMN waits_for TEXT NOT NULL DEFAULT '';
ALTER TABLE mails ADD COLUMN trouble_since BIGINT;
CREATE INDEX mails_held ON mails (waits_for, account_id, sequence_id) WHERE waits_for <> '';
"""


def up(connection: sa.Connection) -> None:
    for statement in filter(str.strip, COLUMNS.split(";")):
        connection.execute(sa.text(statement))
    held = "status = 'active' AND due_at IS NULL AND reason = :reason"
    connection.execute(sa.text(f"UPDATE enrolments SET held = TRUE, reason = '' WHERE {held}"), {"reason": PAUSED})
    queued = "next_at IS NOT NULL AND state = 'queued'"
    tried = f"{queued} AND (soft > 0 OR substr(reply, 1, {len(OWN_FAILURE)}) = :own_failure)"
    connection.execute(
        sa.text(f"UPDATE mails SET trouble_since = queued_at WHERE {tried}"), {"own_failure": OWN_FAILURE}
    )
    beginning, rest = f"substr(reply, 1, {len(FOR_THE_OWNER)})", f"substr(reply, {len(FOR_THE_OWNER) + 1})"
    connection.execute(
        sa.text(f"UPDATE mails SET waits_for = 'owner', reply = {rest} WHERE {queued} AND {beginning} = :owner"),
        {"owner": FOR_THE_OWNER},
    )
