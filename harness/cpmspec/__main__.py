"""``python -m cpmspec``: the same as the command ``cpmspec``."""

import sys

from cpmspec.cli import main

if __name__ == "__main__":
    sys.exit(main())
