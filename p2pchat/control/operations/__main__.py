"""Print docs/control.md: `python -m p2pchat.control.operations > docs/control.md`.

Decides: how the tables read as a page. Does not know: any operation.
"""

from __future__ import annotations

import json
import sys

from p2pchat.control.operations import all_operations
from p2pchat.control.operations.table import REQUIRED, Operation, Param
from p2pchat.errors import EXIT_CODES

INTRO = """# The control socket

This page is printed by `python -m p2pchat.control.operations`; a test holds it fresh.

The daemon listens on a Unix socket that only its own user may open (`p2pchat paths`
says where; without Unix sockets: loopback TCP and a token file). It speaks JSON-RPC
2.0, one object per line, UTF-8. Every command of `p2pchat` uses it and nothing else,
so whatever a command can do, a script can do.

    → {"jsonrpc":"2.0","id":1,"method":"send","params":{"target":"bob","text":"hello"}}
    ← {"jsonrpc":"2.0","id":1,"result":{"id":"9f…","room":"41…","state":"queued"}}

Unknown and ill-typed parameters are refused with `usage`. Ids are lower-case hex, times
in answers RFC 3339 UTC, times in parameters ms since 1970. A failure is
`{"code","message","data":{"kind","hint"}}`, `code` being the exit code of the command, and
`data.result` what was done all the same. `listen` is asked for with the method
`subscribe`, which answers `{"subscription":N}`; what happens then comes as
`{"jsonrpc":"2.0","method":"event","params":{"subscription":N,"event":{…}}}` until
`unsubscribe` with that number, or a last `end`.
"""


def page() -> str:
    """The whole page as markdown."""
    parts = [INTRO, "## Kinds of failure\n", "| Kind | Exit code of the command |\n|---|---|"]
    parts += [f"| `{kind}` | {code} |" for kind, code in EXIT_CODES.items()]
    parts.append("\n## Operations\n")
    parts += [_section(operation) for operation in all_operations().values()]
    return "\n".join(parts).rstrip() + "\n"


def _section(operation: Operation) -> str:
    lines = [f"### `{operation.method}`{' (subscription)' if operation.stream else ''}\n", operation.doc, ""]
    if operation.params:
        lines += ["| Parameter | Type | Default | Meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{p.name}` | {p.type} | {_default(p)} | {p.doc.replace('|', chr(92) + '|')} |"
            for p in operation.params
        ]
        lines.append("")
    lines += [f"Answer: {operation.result}.", ""]
    return "\n".join(lines)


def _default(param: Param) -> str:
    if param.default is REQUIRED:
        return "required"
    if param.default == "" or param.default == []:
        return "empty"
    return json.dumps(param.default)


if __name__ == "__main__":
    sys.stdout.write(page())
