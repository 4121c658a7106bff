"""`python -m p2pchat`: the daemon. People use the command `p2pchat`, which starts it.

While its modules are loaded the interpreter looks for no cycles: what they make stays (daemon/memory.py), and
looking through it again and again is a tenth of the time a start takes.
"""

from __future__ import annotations

import gc
import sys

gc.disable()

from p2pchat.daemon.main import main  # noqa: E402 - the switch comes first

if __name__ == "__main__":
    sys.exit(main())
