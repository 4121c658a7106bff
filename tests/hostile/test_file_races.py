"""10,000 swaps of a folder for a link while files are received and named: nothing is written outside.

The inbox, a folder on the way to it, the staging folder, and a folder that is being filled are each
swapped by a second process of the same user, who may do all that we may.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pchat.errors import CommandError, LocalProtocolError
from p2pchat.files.inbox import place
from p2pchat.files.staging import Staging, remove
from p2pchat.platform.folders import Folder
from tests.kit.hosts import ROOT
from tests.kit.transfers import folder_transfer, offer_of, put_all, tree_hash

SWAPS = 10_000
GATE_ROUNDS, FULL_ROUNDS = 10, 100
"""A round of swaps takes 50 ms: so many, that some hundred transfers meet them."""
DATA = b"from a peer" * 1000


def attempt(base: Path, tree: tuple[object, bytes] | None) -> bool:
    """Receive and name one transfer, as a daemon would; False if it was refused on the way."""
    offer, stream = tree or (offer_of(DATA), DATA)
    try:
        with Folder.open(base / "way" / "inbox") as inbox, Folder.open(base / "staging") as folder:
            try:
                staging = Staging.begin(folder, offer, keep_free=0, now=0)  # type: ignore[arg-type]
                try:
                    if not staging.done.complete:
                        put_all(staging, offer, stream)  # type: ignore[arg-type]
                    place(staging, inbox, 0, "overwrite")
                finally:
                    staging.close()
            finally:
                remove(folder, offer.id)  # type: ignore[attr-defined]
    except (CommandError, LocalProtocolError, OSError):
        return False
    return True


def swapping(folder: Path, outside: Path) -> Iterator[None]:
    """Again and again, while another process swaps SWAPS times."""
    words = [sys.executable, "-m", "tests.hostile.swapper", str(folder), str(outside), str(SWAPS)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as swapper:
        while swapper.poll() is None:
            yield
        assert swapper.stdout is not None
        assert int(swapper.stdout.read()) == SWAPS
    assert swapper.returncode == 0


def test_the_control_that_goes_by_names_is_led_outside(tmp_path: Path) -> None:
    """Looking whether it is a link and then writing: what these swaps are there to catch."""
    inbox, outside = tmp_path / "inbox", tmp_path / "outside"
    inbox.mkdir()
    outside.mkdir()
    for _ in range(FULL_ROUNDS):
        for _ in swapping(inbox, outside):
            if not inbox.is_symlink():
                (inbox / "report.pdf").write_bytes(DATA)
        if os.listdir(outside):
            return
    raise AssertionError("the swaps catch nothing")


@pytest.mark.parametrize(
    "swapped", ["way/inbox", "way", "staging", "way/inbox/project", "way/inbox/project/sub"]
)
def test_nothing_is_written_outside(tmp_path: Path, swapped: str, full: bool) -> None:
    base = Path(os.path.realpath(tmp_path)) / "base"
    outside = base.parent / "outside"
    for path in ("way/inbox/project/sub", "staging", "sources/project/sub"):
        (base / path).mkdir(parents=True)
    # what a link would lead to looks just like what it stands for
    for path in ("inbox/project/sub", "project/sub", "sub"):
        (outside / path).mkdir(parents=True)
    for path in ("report.pdf", "inbox/report.pdf", "project/sub/b.txt", "sub/b.txt", "b.txt", "a.txt"):
        (outside / path).write_text("precious")
    (base / "sources" / "project" / "a.txt").write_text("new")
    (base / "sources" / "project" / "sub" / "b.txt").write_text("new")
    tree = folder_transfer(base / "sources" / "project") if "project" in swapped else None
    before = tree_hash(outside)
    places = sorted(os.listdir(base))
    done = refused = 0
    for _ in range(FULL_ROUNDS if full else GATE_ROUNDS):
        for _ in swapping(base / swapped, outside):
            if attempt(base, tree):
                done += 1
            else:
                refused += 1
    assert tree_hash(outside) == before
    assert sorted(os.listdir(base)) == places
    assert refused > 0, "the swaps never met us"
    assert attempt(base, tree), "and when they are over it works"
    name = "project/sub/b.txt" if tree else "report.pdf"
    assert (base / "way" / "inbox" / name).read_bytes() == (b"new" if tree else DATA)
    print(f"{swapped}: {done} came through, {refused} were refused")
