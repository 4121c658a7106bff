"""What a command, an argument and an option are made of.

Decides: nothing but their fields. Does not know: which there are (options).
"""

from __future__ import annotations

from typing import NamedTuple


class Opt(NamedTuple):
    """An option. `kind` is one of `flag str int number`; `many` collects repetitions.

    `env` names its twin in the environment: a flag reads 1/0 there, a list commas.
    """

    flags: tuple[str, ...]
    help: str
    kind: str = "str"
    metavar: str = ""
    many: bool = False
    choices: tuple[str, ...] = ()
    env: str = ""

    @property
    def dest(self) -> str:
        """The name under which the value is kept: the first flag without dashes."""
        return self.flags[0].lstrip("-").replace("-", "_")


class Arg(NamedTuple):
    """A positional argument; `many` takes all that are left."""

    dest: str
    metavar: str
    help: str
    required: bool = True
    many: bool = False


class Command(NamedTuple):
    """One command: its words, the module under `commands/`, the function in it."""

    words: tuple[str, ...]
    help: str
    module: str
    args: tuple[Arg, ...] = ()
    opts: tuple[Opt, ...] = ()
    function: str = "run"
    notes: str = ""
