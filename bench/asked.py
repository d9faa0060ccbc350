"""What every benchmark can be asked: on which engine, how often, and where its databases live."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def parser(what: str | None, *, rounds: int = 3) -> argparse.ArgumentParser:
    """With the options of all; `what` is the benchmark's own description."""
    made = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--engine", choices=("sqlite", "postgresql"), required=True)
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--url", help="a PostgreSQL server to use; without it one is started for the run")
    made.add_argument("--keep", type=Path, help="a folder in which filled databases stay for the next run")
    made.add_argument("--quick", action="store_true", help="a look whether everything works, in a few seconds")
    return made


def read(made: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    options = made.parse_args(arguments)
    if options.keep:
        options.keep = options.keep.resolve()
        options.keep.mkdir(parents=True, exist_ok=True)
    return options
