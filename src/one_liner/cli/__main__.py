"""`python -m one_liner.cli` is `one-liner`."""

import sys

from one_liner.cli import main

if __name__ == "__main__":
    sys.exit(main())
