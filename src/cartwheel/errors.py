"""What can be refused or go wrong, in Cartwheel's own words: no reply numbers, no HTTP, no Kartra wording.

A `DomainError` says that a request makes no sense for the data as it is. Its docstring is its message, and
`example` holds the parameters that provoke it in the demo account: the reference page shows them, the tests use them.
"""

from collections.abc import Mapping
from typing import ClassVar


class CartwheelError(Exception):
    """Root of everything that Cartwheel raises on purpose."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").splitlines()[0]


class DomainError(CartwheelError):
    """The data does not allow this."""

    example: ClassVar[Mapping[str, object]] = {}
    """Parameters that provoke it, laid over a command's own example. A `lead` in it is the call's lead."""


class LeadNotFound(DomainError):
    """There is no such lead."""

    example = {"lead": {"email": "nobody@shop.example"}}


class LeadExists(DomainError):
    """Another lead has this e-mail address."""

    example = {"lead": {"email": "ada@shop.example", "new_email": "grace@shop.example"}}


class LeadIsDeleted(DomainError):
    """The lead was deleted."""

    example = {"lead": {"email": "deleted@shop.example"}}


class WrongFieldFormat(DomainError):
    """A custom field's value does not fit the field."""

    example = {"lead": {"custom_fields": "gold"}}


class ListNotFound(DomainError):
    """There is no list of this name."""

    example = {"list_name": "No such list"}


class TagNotFound(DomainError):
    """There is no tag of this name."""

    example = {"tag_name": "No such tag"}


class SequenceNotFound(DomainError):
    """There is no sequence of this name."""

    example = {"sequence_name": "No such sequence"}


class WebhookNotFound(DomainError):
    """There is no webhook of this name."""


class WebhookNotAsked(DomainError):
    """The webhook is not told what automations send."""


class StepNotAlphanumeric(DomainError):
    """A step's box label is made of letters and digits."""

    example = {"step": "1-A"}


class StepNotFound(DomainError):
    """The sequence has no step with this box label."""

    example = {"step": "Z99"}


class FieldNameNotAllowed(DomainError):
    """A custom field's identifier has letters, digits, dashes and underscores only."""

    example = {"custom_field_identifier": "favourite colour!"}


class FieldExists(DomainError):
    """The identifier is taken, or is the name of a built-in field."""

    example = {"custom_field_identifier": "plan"}


class FieldTypeUnknown(DomainError):
    """There is no such type of custom field."""

    example = {"custom_field_type": "colour_wheel"}


class OptionsNotAnArray(DomainError):
    """The options of a choice field have to be an array."""

    example = {"custom_field_options": "red"}


class OptionsTooFew(DomainError):
    """A choice field has two options or more."""

    example = {"custom_field_options": [{"option_name": "red"}]}


class OptionEmpty(DomainError):
    """An option of a choice field needs a name."""

    example = {"custom_field_options": [{"option_name": "red"}, {"option_name": ""}]}


class NameTooLong(DomainError):
    """A name is longer than 255 characters."""

    example = {"custom_field_options": [{"option_name": "red" * 100}, {"option_name": "blue"}]}


class AccountFull(DomainError):
    """The account, or the field, would hold more than it may."""

    example = {"custom_field_options": [{"option_name": f"shade {number}"} for number in range(1, 300)]}


class Unavailable(CartwheelError):
    """The database cannot be used at the moment."""


class Conflict(CartwheelError):
    """Another process changed the same rows at the same moment. The work is run again."""


class Overloaded(CartwheelError):
    """More work is waiting than the queue may hold."""


class BadSetting(CartwheelError):
    """A setting cannot be read."""


class BadAccountFile(CartwheelError):
    """An account file cannot be applied."""


class NoSuchName(CartwheelError):
    """Nothing has this name."""


class NameTaken(CartwheelError):
    """Something has this name already."""


class NotInDoubt(CartwheelError):
    """What became of the mail is known, and it cannot be sent again."""


class CannotServe(CartwheelError):
    """The server cannot be started."""


class LedgerChanged(CartwheelError):
    """Points were given or taken at the same moment. Please try again."""
