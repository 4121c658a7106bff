"""The picture of the house, as a table, and every import of the packages held against it.

Decides: which floor may import which, which outside module belongs to which floor, and which
calls a floor of plain functions may not make. Does not know: what any of the code does; it reads
source text with `ast` and imports nothing of it.

Static imports, lazy ones inside functions, those under TYPE_CHECKING and constant arguments of
`import_module` all count. `check_source` is the whole law as one function; the second half of the
file feeds it small bad examples, so that a rule that never fires is noticed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# floor → (what it is, floors it may import). The order is the picture: arrows point down only.
# "client" is not a floor but the door in the floor `control` through which front ends speak.
FLOORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cli": ("front ends: commands, tui, web", ("client", "base")),
    "daemon": (
        "composition root, runner, links",
        ("control", "net", "store", "files", "platform", "engine", "crypto", "wire", "base"),
    ),
    "control": ("operations, server, client", ("platform", "engine", "crypto", "wire", "base")),
    "net": ("the local network", ("platform", "engine", "crypto", "wire", "base")),
    "store": ("the archive", ("platform", "engine", "crypto", "wire", "base")),
    "files": ("file bytes and names", ("platform", "wire", "base")),
    "platform": ("what differs between systems", ("base",)),
    "engine": ("every decision", ("crypto", "wire", "base")),
    "crypto": ("keys, Noise, epochs, codes", ("wire", "base")),
    "wire": ("bytes and message records", ("base",)),
    "base": ("ids, model, errors, paths, amounts", ()),
}
BASE_MODULES = {
    "p2pchat",
    "p2pchat.ids",
    "p2pchat.model",
    "p2pchat.errors",
    "p2pchat.paths",
    "p2pchat.amounts",
}
CLIENT_PREFIXES = ("p2pchat.control.client", "p2pchat.control.operations")

# outside module → the only places that may import it (a floor, or one module's full name).
ONLY_IN: dict[str, tuple[str, ...]] = {
    "nacl": ("crypto",),
    "sqlite3": ("store",),
    "sqlite_utils": ("store",),
    "blake3": ("files",),
    "zeroconf": ("p2pchat.net.mdns",),
    "trio": ("control", "net", "daemon", "cli"),
    "msgspec": ("wire", "control", "files", "store", "daemon"),
    "typer": ("cli",),
    "rich": ("cli",),
    "asyncio": (),  # one event loop in this house: trio's
    "tarfile": (),  # nothing a peer sent is unpacked
    "zipfile": (),
    "pickle": (),  # decoding it runs what a stranger wrote
    "tests": (),
}
# Floors of plain functions: time, chance and the outside are handed in, never fetched.
PLAIN_FLOORS = ("base", "wire", "crypto", "engine", "store", "files")
NO_CLOCK_NO_CHANCE = ("time", "random", "secrets", "uuid")
FORBIDDEN_IN: dict[str, tuple[str, ...]] = {
    "wire": (*NO_CLOCK_NO_CHANCE, "os", "socket", "threading", "subprocess"),
    "crypto": (*NO_CLOCK_NO_CHANCE, "os", "socket", "threading", "subprocess"),
    "engine": (*NO_CLOCK_NO_CHANCE, "os", "socket", "threading", "subprocess"),
    "store": (*NO_CLOCK_NO_CHANCE, "socket", "subprocess"),
    "files": (*NO_CLOCK_NO_CHANCE, "socket", "threading", "subprocess", "shutil"),
}
FORBIDDEN_CALLS = (
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.perf_counter",
    "os.urandom",
    "os.getrandom",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "nacl.utils.random",
)
# A floor that must not even ask its libraries for chance or clock.
NO_CALLS_FLOORS = ("wire", "crypto", "engine", "store", "files")
MAX_LINES = 500


def picture() -> str:
    """The block that stands in docs/architecture.md: one line a floor, from the top down."""
    lines = ["floor     may import                                                        what it is"]
    for floor, (what, below) in FLOORS.items():
        names = " ".join(below).replace("client", "control.client control.operations") or "nothing of ours"
        lines.append(f"{floor:<9} {names:<65} {what}")
    return "\n".join(lines)


def floor_of(module: str) -> str:
    """The floor a module of ours stands on; `p2pchat.__main__` starts the daemon and stands with it."""
    if module == "p2pchat_cli" or module.startswith("p2pchat_cli."):
        return "cli"
    if module in BASE_MODULES:
        return "base"
    name = module.split(".")[1]
    return "daemon" if name == "__main__" else name


def is_ours(module: str) -> bool:
    """Whether the module belongs to one of the two packages."""
    return module.split(".")[0] in ("p2pchat", "p2pchat_cli")


def imported(
    tree: ast.AST, module: str, is_package: bool, known: frozenset[str]
) -> Iterator[tuple[int, str]]:
    """Yield (line, full module name) of every import; `from a import b` means a.b where that is a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                package = package[: len(package) - node.level + 1]
                start = ".".join([*package, start]) if start else ".".join(package)
            for alias in node.names:
                full = f"{start}.{alias.name}"
                yield node.lineno, full if full in known or not is_ours(start) else start
        elif isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in (
            "import_module",
            "__import__",
        ):
            name = constant_start(node.args[0]) if node.args else ""
            if name:
                yield node.lineno, name


def constant_start(node: ast.expr) -> str:
    """The constant text an expression begins with: 'a.b' of f'a.b.{name}', or nothing."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr) and node.values:
        return constant_start(node.values[0]).rstrip(".")
    return ""


def dotted(node: ast.expr) -> str:
    """'a.b.c' of an attribute chain, or nothing for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        start = dotted(node.value)
        return f"{start}.{node.attr}" if start else ""
    return ""


def allowed_target(floor: str, target: str) -> bool:
    """Whether a module of the floor may import the module `target` of ours."""
    there = floor_of(target)
    if there not in FLOORS:
        return False
    below = FLOORS[floor][1]
    if there == floor or there in below:
        return True
    return "client" in below and any(
        target == p or target.startswith((p + ".", p + "_")) for p in CLIENT_PREFIXES
    )


def check_source(
    module: str, source: str, known: frozenset[str] = frozenset(), is_package: bool = False
) -> list[str]:
    """All breaches of the picture in one file, as sentences; an empty list means it fits.

    module: its full dotted name; known: every module name of ours, to tell `from a import module`
    from `from a import name`.
    """
    tree = ast.parse(source)
    floor = floor_of(module)
    if floor not in FLOORS:
        return [f"{module}: stands on no floor of the picture"]
    found = []
    for line, target in imported(tree, module, is_package, known):
        if is_ours(target):
            if not allowed_target(floor, target):
                found.append(f"{module}:{line}: {floor} may not import {target}")
            continue
        top = target.split(".")[0]
        places = ONLY_IN.get(top)
        if places is not None and floor not in places and module not in places:
            found.append(f"{module}:{line}: {target} is not for {floor}")
        if top in FORBIDDEN_IN.get(floor, ()):
            found.append(f"{module}:{line}: {floor} may not import {target}: it is handed in")
    for node in ast.walk(tree):
        if floor in PLAIN_FLOORS and isinstance(
            node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await
        ):
            found.append(f"{module}:{node.lineno}: {floor} is plain functions, nothing waits there")
        if floor in NO_CALLS_FLOORS and isinstance(node, ast.Call):
            name = dotted(node.func)
            if any(name == bad or name.endswith("." + bad) for bad in FORBIDDEN_CALLS):
                found.append(f"{module}:{node.lineno}: {floor} may not call {name}: it is handed in")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{module}:{node.lineno}: bare except")
    lines = source.count("\n")
    if lines > MAX_LINES:
        found.append(f"{module}: {lines} lines, split it before {MAX_LINES}")
    return found


def our_files() -> dict[str, Path]:
    """Every module of the two packages by its full name."""
    files = {}
    for start, package in ((ROOT, "p2pchat"), (ROOT / "cli", "p2pchat_cli")):
        for path in sorted((start / package).rglob("*.py")):
            parts = path.relative_to(start).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def test_every_import_fits_the_picture() -> None:
    files = our_files()
    known = frozenset(files)
    assert len(files) > 20, "the packages were not found"
    found = []
    for module, path in files.items():
        found += check_source(module, path.read_text("utf-8"), known, path.name == "__init__.py")
    assert not found, "\n" + "\n".join(found)


def test_both_packages_stand_where_the_picture_says() -> None:
    folders = {p.name for p in (ROOT / "p2pchat").iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert folders <= set(FLOORS) - {"cli", "base"}, "a folder that is no floor"
    assert not (ROOT / "cli" / "__init__.py").exists(), "cli/ is a folder; its package is p2pchat_cli"


def test_arrows_point_down_only() -> None:
    order = list(FLOORS)
    for floor, (_, below) in FLOORS.items():
        for name in below:
            place = "control" if name == "client" else name
            assert order.index(place) > order.index(floor), f"{floor} → {name} points up"
    for side in ("control", "net", "store", "files"):
        others = {"control", "net", "store", "files"} - {side}
        assert not others & set(FLOORS[side][1]), f"{side} sees a neighbour"


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a loop, if any do."""
    left = {module: set(targets) & set(arrows) for module, targets in arrows.items()}
    while True:
        ends = {module for module, targets in left.items() if not targets - {module}}
        if not ends:
            break
        left = {module: targets - ends for module, targets in left.items() if module not in ends}
    starts = {target for targets in left.values() for target in targets}
    while loose := set(left) - starts:  # they only point into it
        left = {module: targets for module, targets in left.items() if module not in loose}
        starts = {target for targets in left.values() for target in targets}
    return sorted(left)


def test_no_two_files_need_each_other() -> None:
    files = our_files()
    known = frozenset(files)
    arrows = {
        module: {
            target
            for _, target in imported(
                ast.parse(path.read_text("utf-8")), module, path.name == "__init__.py", known
            )
        }
        for module, path in files.items()
    }
    assert sum(map(len, arrows.values())) > 500, "the imports were not found"
    assert circle(arrows) == []


def test_a_circle_is_seen_and_what_points_into_it_is_not_named() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": {"os"}}) == []


def test_the_picture_stands_in_the_docs() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    block = f"```\n{picture()}\n```"
    assert block in page, f"put this block into docs/architecture.md:\n{block}"


KNOWN = frozenset(
    {
        "p2pchat",
        "p2pchat.daemon",
        "p2pchat.daemon.main",
        "p2pchat.engine.node",
        "p2pchat.control",
        "p2pchat.control.client",
        "p2pchat.control.server",
        "p2pchat.store",
        "p2pchat.store.ledger",
        "p2pchat.net.tcp",
        "p2pchat.files.staging",
    }
)

BAD = [
    (
        "p2pchat.wire.codec",
        "from p2pchat.engine.node import handle",
        "wire may not import p2pchat.engine.node",
    ),
    (
        "p2pchat.engine.node",
        "def f():\n    import p2pchat.store.ledger",
        "engine may not import p2pchat.store.ledger",
    ),
    ("p2pchat.engine.node", "from ..store import ledger", "engine may not import p2pchat.store.ledger"),
    (
        "p2pchat.engine.node",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p2pchat.net.tcp import Tcp",
        "engine may not import p2pchat.net.tcp",
    ),
    ("p2pchat.net.tcp", "from p2pchat.store import ledger", "net may not import p2pchat.store.ledger"),
    ("p2pchat.control.server", "import p2pchat.net.tcp", "control may not import p2pchat.net.tcp"),
    ("p2pchat.ids", "from p2pchat.wire import codec", "base may not import p2pchat.wire"),
    ("p2pchat.platform.posix", "import p2pchat.engine.node", "platform may not import p2pchat.engine.node"),
    ("p2pchat.daemon.main", "import p2pchat_cli.main", "daemon may not import p2pchat_cli.main"),
    ("p2pchat_cli.main", "from p2pchat.daemon import main", "cli may not import p2pchat.daemon.main"),
    ("p2pchat_cli.main", "from p2pchat.control import server", "cli may not import p2pchat.control.server"),
    ("p2pchat_cli.main", "from p2pchat import control", "cli may not import p2pchat.control"),
    (
        "p2pchat_cli.main",
        "import importlib\nimportlib.import_module(f'p2pchat.daemon.{x}')",
        "cli may not import p2pchat.daemon",
    ),
    ("p2pchat.attic.node", "", "stands on no floor"),
    ("p2pchat.wire.codec", "import nacl.bindings", "nacl.bindings is not for wire"),
    ("p2pchat.engine.node", "from nacl import bindings", "nacl.bindings is not for engine"),
    ("p2pchat.daemon.main", "import sqlite3", "sqlite3 is not for daemon"),
    ("p2pchat.net.tcp", "def f():\n    from zeroconf import Zeroconf", "zeroconf.Zeroconf is not for net"),
    ("p2pchat.engine.node", "import trio", "trio is not for engine"),
    ("p2pchat.files.staging", "import trio", "trio is not for files"),
    (
        "p2pchat.files.staging",
        "from p2pchat.store import ledger",
        "files may not import p2pchat.store.ledger",
    ),
    (
        "p2pchat.files.staging",
        "from p2pchat.engine.node import x",
        "files may not import p2pchat.engine.node",
    ),
    ("p2pchat.files.staging", "import zipfile", "zipfile is not for files"),
    ("p2pchat.files.staging", "import time", "files may not import time"),
    ("p2pchat.files.staging", "async def f(): pass", "nothing waits there"),
    ("p2pchat.engine.node", "import blake3", "blake3 is not for engine"),
    ("p2pchat.engine.node", "from time import monotonic", "engine may not import time.monotonic"),
    ("p2pchat.engine.node", "import random", "engine may not import random"),
    ("p2pchat.engine.node", "import socket", "engine may not import socket"),
    ("p2pchat.engine.node", "import os.path", "engine may not import os.path"),
    ("p2pchat.store.ledger", "import time", "store may not import time"),
    ("p2pchat.crypto.codes", "import secrets", "crypto may not import secrets"),
    ("p2pchat.engine.node", "async def f(): pass", "nothing waits there"),
    ("p2pchat.store.ledger", "async def f():\n    await x", "nothing waits there"),
    ("p2pchat.store.ledger", "import os\nos.urandom(8)", "store may not call os.urandom"),
    (
        "p2pchat.crypto.codes",
        "import nacl.utils\nnacl.utils.random(8)",
        "crypto may not call nacl.utils.random",
    ),
    ("p2pchat.engine.node", "import datetime\ndatetime.datetime.now()", "may not call datetime.datetime.now"),
    ("p2pchat.daemon.main", "try:\n    x()\nexcept:\n    raise", "bare except"),
    ("p2pchat.daemon.main", "x = 1\n" * (MAX_LINES + 1), "split it"),
    ("p2pchat.daemon.main", "import tests.kit", "tests.kit is not for daemon"),
]

GOOD = [
    (
        "p2pchat.engine.node",
        "from p2pchat.crypto import epochs\nfrom p2pchat.ids import RoomId\nfrom . import log",
    ),
    ("p2pchat.daemon.main", "import trio\nfrom p2pchat.net.tcp import Tcp\nfrom p2pchat.store import ledger"),
    ("p2pchat.net.mdns", "import zeroconf\nfrom p2pchat.platform import posix"),
    ("p2pchat.crypto.codes", "from nacl import bindings"),
    ("p2pchat.store.ledger", "import os\nimport sqlite3\nfrom p2pchat.engine.node import Ledger"),
    (
        "p2pchat_cli.main",
        "from p2pchat.control import client\nfrom p2pchat import __version__\nimport p2pchat.paths",
    ),
    (
        "p2pchat_cli.main",
        "from p2pchat.control.operations.rooms import ROOMS\nimport p2pchat.control.client_trio",
    ),
    ("p2pchat.control.server", "import trio\nimport msgspec\nasync def f():\n    await trio.sleep(0)"),
]


@pytest.mark.parametrize(("module", "source", "sentence"), BAD)
def test_a_breach_is_seen(module: str, source: str, sentence: str) -> None:
    found = check_source(module, source, KNOWN)
    assert len(found) >= 1
    assert any(sentence in line for line in found), found


@pytest.mark.parametrize(("module", "source"), GOOD)
def test_what_fits_is_left_alone(module: str, source: str) -> None:
    assert check_source(module, source, KNOWN) == []
