"""The errors that a user can do something about: one line each, with the exit status it ends the program with.

Anything else is a bug and keeps its traceback.
"""


class InterpError(Exception):
    """A failure with a message that says what to do next."""

    exit_status = 1


class InputError(InterpError):
    """Something given is wrong: an option, a config, a prompt set, a vector, a torn file."""

    exit_status = 2


class SettingsChanged(InterpError):
    """Outputs exist that were made with other settings."""

    exit_status = 3


class DiskFull(InterpError):
    """The target disk cannot take what is left to write."""

    exit_status = 4


class ModelUnavailable(InterpError):
    """A model, tokenizer or adapter cannot be loaded."""

    exit_status = 5


class ValueOutOfRange(InterpError):
    """A number does not fit where it has to go: an overflow, a NaN."""

    exit_status = 6


class ServiceUnavailable(InterpError):
    """A judge or a store refuses, or cannot be reached."""

    exit_status = 7


class Stopped(InterpError):
    """A signal asked for a stop; the work that is left can be taken up by the same command (EX_TEMPFAIL)."""

    exit_status = 75
