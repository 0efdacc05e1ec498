"""`python -m turnwise` is the command `turnwise`."""

import sys

from turnwise.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
