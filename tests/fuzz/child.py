"""The process that is fuzzed: `python -m tests.fuzz.child MODULE [libFuzzer arguments]`.

Decides: what counts as a finding: every exception but RemoteProtocolError. Does not
know: for how long, from which corpus (run).
"""

from __future__ import annotations

import importlib
import sys

import atheris


def main() -> None:
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["p2pchat"]):
        target = importlib.import_module(name)
        from p2pchat.errors import RemoteProtocolError

    def one_input(data: bytes) -> None:
        try:
            target.one_input(data)
        except RemoteProtocolError:
            return

    atheris.Setup([name, *arguments], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
