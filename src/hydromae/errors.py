"""The one exception that a user can cause."""


class InputError(ValueError):
    """Bad input: one line that names the file or argument, the value, and the remedy. The command line exits with 2."""
