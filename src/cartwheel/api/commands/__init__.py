"""The API's commands, one function each. Importing this package fills `COMMANDS`."""

from cartwheel.api.commands import fields, leads, lists, points, sequences, tags
from cartwheel.api.registry import COMMANDS

__all__ = ["COMMANDS", "fields", "leads", "lists", "points", "sequences", "tags"]
