"""The one exception that a user can cause."""


class InputError(ValueError):
    """Bad input: one line that names the file or argument, the value, and the remedy. The command line exits with 2."""

    def __init__(self, message: str) -> None:
        """Whatever names and values from a file hold, the message stays one printable line."""
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message))


def first_line(error: Exception) -> str:
    """The first line of another library's exception, short enough to stand inside a message of one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
