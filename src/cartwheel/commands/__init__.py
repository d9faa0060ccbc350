"""The API's commands, one function each. Importing this package fills the registry."""

from cartwheel.commands import fields, leads, lists, points, sequences, tags

__all__ = ["fields", "leads", "lists", "points", "sequences", "tags"]
