"""``python -m tenantcollect`` (floor: cli)."""

import sys

from tenantcollect.cli import main

if __name__ == "__main__":
    sys.exit(main())
