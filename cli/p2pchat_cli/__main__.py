"""`python -m p2pchat_cli`: the same as the script `p2pchat`.

Decides: nothing. Does not know: anything.
"""

from __future__ import annotations

import sys

from p2pchat_cli.main import run

if __name__ == "__main__":
    sys.exit(run())
