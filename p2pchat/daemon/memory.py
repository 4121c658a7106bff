"""How often the interpreter looks for memory that only cycles hold.

Decides: how many objects may come before it looks, and that what a process begins with is never looked
through again. Does not know: what they are.

It is a setting of the whole process, so only who owns the process makes it: its main program.
"""

from __future__ import annotations

import gc
from typing import Final

OBJECTS: Final = 10_000
"""New objects until it looks. With the 700 of the interpreter a twentieth of the time in which a long history
comes went there, for next to nothing: records and effects hold no cycles. Of what does, exceptions above all,
a few megabytes may lie about."""
TIMES: Final = 20
"""So many looks at the young until one at those that survived, and so on."""


def look_rarely() -> None:
    """Call once, when all modules are loaded and nothing is running yet."""
    gc.freeze()
    gc.set_threshold(OBJECTS, TIMES, TIMES)
    gc.enable()  # where it was off while they loaded
