"""Operations of the control socket, as tables: one file per family.

Decides: nothing; it gathers. Does not know: the socket, the daemon, the commands.
The tables are imported on demand, because a command that needs one operation should
not pay for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pchat.control.operations.table import Operation


def all_operations() -> dict[str, Operation]:
    """Every operation by method name, in the order of docs/control.md."""
    from p2pchat.control.operations import (
        daemon,
        files,
        history,
        messages,
        people,
        presence,
        rooms,
        settings,
        trust,
    )

    families = (daemon, people, presence, rooms, messages, files, history, trust, settings)
    return {operation.method: operation for family in families for operation in family.OPERATIONS}
