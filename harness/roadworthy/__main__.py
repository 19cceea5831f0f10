"""`python -m roadworthy`: the `roadworthy` command."""

from __future__ import annotations

import sys

from roadworthy.cli import main

if __name__ == "__main__":
    sys.exit(main())
