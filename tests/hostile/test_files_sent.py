"""Hostile names and swapped links between two real daemons: nothing is written but where it belongs.

The full sets are played below (test_file_names, test_file_races); here is that nothing on the way from
one control socket to the other's inbox goes around what they prove.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.file_names import check_safe
from tests.kit.hosts import ROOT, Machine, meet, office, until
from tests.kit.needs import needs_netns
from tests.kit.sending import inbox, landed, offer, shown, take
from tests.kit.transfers import tree_hash

pytestmark = needs_netns

NAMES = (
    "..", ".", "../../../precious/file", "/etc/passwd", "C:\\Windows\\x.dll", "~/.ssh/authorized_keys", "-rf",
    "CON", "nul.txt", ".bashrc", "desktop.ini", "photo\u202egpj.exe", "a\0b", "a\nb\x1b]0;title\x07", "é",
    "e\u0301", "\u200b", "x" * 300, "staging", "identity",
)  # fmt: skip
SWAPS = 200_000
"""About a second of them."""
LAND_S = 30.0


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    with office(2, tmp_path) as (_, (ann, bob)):
        ann.up()
        bob.up()
        meet(ann, bob)
        yield ann, bob


def named(sender: Machine, to: Machine, name: str, data: bytes) -> str:
    """Offer these bytes under any name at all: what is piped in is called as its sender says."""
    spool = sender.ask("files.spool")["spool"]
    sender.ask("files.spool_add", spool=spool, data=base64.b64encode(data).decode())
    (one,) = sender.ask("files.send", target=to.name, spool=spool, name=name)["transfers"]
    return str(one["id"])


def test_hostile_names_from_one_to_the_other(pair: tuple[Machine, Machine], tmp_path: Path) -> None:
    ann, bob = pair
    precious = tmp_path / "bob" / "precious"
    precious.mkdir()
    (precious / "file").write_text("precious")
    before, around = tree_hash(precious), sorted(os.listdir(tmp_path / "bob"))
    ids = [named(ann, bob, name, b"%d" % number) for number, name in enumerate(NAMES)]
    for ident in ids:
        take(bob, ident)
    paths = [landed(bob, ident, LAND_S) for ident in ids]
    for number, path in enumerate(paths):
        assert path.parent == inbox(bob)
        check_safe(path.name)
        assert path.read_bytes() == b"%d" % number
        assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in paths) == sorted(os.listdir(inbox(bob)))
    assert len(set(paths)) == len(NAMES)
    assert tree_hash(precious) == before
    assert sorted(os.listdir(tmp_path / "bob")) == around
    for machine in pair:
        words = [word for word in machine.argv("file", "list") if word != "--json"]
        said = subprocess.run(
            words, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": _path()}
        )
        shown_text = said.stdout.decode()
        assert all(unicodedata.category(one) not in ("Cc", "Cf") or one == "\n" for one in shown_text)
        assert len(shown_text.splitlines()) == len(NAMES) + 1


def _path() -> str:
    return os.pathsep.join((str(ROOT), str(ROOT / "cli")))


def test_a_folder_that_is_swapped_while_it_is_filled(pair: tuple[Machine, Machine], tmp_path: Path) -> None:
    """Another process exchanges it for a link outside, thousands of times, while files replace its own."""
    ann, bob = pair
    outside = tmp_path / "outside"
    source, target = tmp_path / "project", inbox(bob) / "project"
    for folder in (outside, source, target):
        (folder / "sub").mkdir(parents=True)
        for name in ("a.txt", "sub/b.txt"):
            (folder / name).write_text(f"old {folder.name}" if folder is not source else "new")
    before = tree_hash(outside)
    words = [sys.executable, "-m", "tests.hostile.swapper", str(target), str(outside), str(SWAPS)]
    ids = []
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as swapper:
        while swapper.poll() is None:
            ident = offer(ann, bob, source)
            take(bob, ident, conflict="overwrite")
            ids.append(ident)
            until(lambda: _tried(bob, ids[-1]), LAND_S, "it was tried")
            assert tree_hash(outside) == before
    assert swapper.returncode == 0
    assert len(ids) > 1
    for ident in ids:
        assert landed(bob, ident, 2 * LAND_S) == target
    assert tree_hash(outside) == before
    assert (target / "a.txt").read_text() == (target / "sub" / "b.txt").read_text() == "new"
    assert sorted(os.listdir(inbox(bob))) == ["project"]


def _tried(machine: Machine, ident: str) -> bool:
    found = shown(machine, ident)
    return found["state"] == "done" or found["error"] is not None
