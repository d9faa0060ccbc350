"""All operations, in the order of the reference. Importing this module fills it."""

from cartwheel.rest import events, fields, leads, named, sequences, suppressions
from cartwheel.rest.operations import OPERATIONS, Operation

__all__ = ["MODULES", "OPERATIONS", "Operation"]

MODULES = (leads, events, named, fields, sequences, suppressions)
