"""Lets `python -m hydromae` and the installed `hydromae` start the command line."""

from __future__ import annotations

import sys

from hydromae import cli


def main() -> None:
    """Run the command line and end with its exit code."""
    sys.exit(cli.main())


if __name__ == "__main__":
    main()
