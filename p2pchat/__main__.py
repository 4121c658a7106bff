"""`python -m p2pchat`: the daemon. People use the command `p2pchat`, which starts it."""

from __future__ import annotations

import sys

from p2pchat.daemon.main import main

if __name__ == "__main__":
    sys.exit(main())
