"""Prints one of the commands README.md promises, so that whoever runs it runs what the reader sees.

Decides: how such a command is marked: a fenced `sh` block whose first line is `# NAME`. Does not
know: what the commands do.

    python3 .ci/readme_command.py tests
"""

from __future__ import annotations

import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def command(text: str, name: str) -> str:
    """The lines of the one block marked `# name`; SystemExit if there is none, or more than one."""
    found = []
    lines: list[str] | None = None
    for line in text.splitlines():
        if line.startswith("```"):
            if lines is not None and lines[:1] == [f"# {name}"]:
                found.append("\n".join(lines[1:]))
            lines = [] if lines is None and line == "```sh" else None
        elif lines is not None:
            lines.append(line)
    if len(found) != 1:
        raise SystemExit(f"README.md has {len(found)} blocks marked '# {name}': it must have one")
    return found[0]


if __name__ == "__main__":
    print(command(README.read_text("utf-8"), sys.argv[1]))
