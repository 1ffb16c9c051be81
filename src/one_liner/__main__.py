"""`python -m one_liner` is `one-liner`."""

import sys

from one_liner.cli import main

if __name__ == "__main__":
    sys.exit(main())
