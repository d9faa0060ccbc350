"""What the verbs of the command line share: exit codes, options, and who they say did it."""

from typing import Annotated

import typer

TROUBLE = 1
USAGE = 2
"""Exit codes: something is wrong; it was asked for wrongly. No traceback comes with either."""

AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON, for programs.")]
AccountName = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="The account; needless when there is only one."),
]

ORIGIN = "cli"
"""Who did it, in the events of what these verbs change."""
