"""Names given in one step, conflicts, the same bytes already there, crashes in between."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from p2pchat.errors import CommandError
from p2pchat.files import inbox as inboxes
from p2pchat.files import state as states
from p2pchat.files.inbox import adopt, forget, place, same_file, same_tree
from p2pchat.files.staging import Staging
from p2pchat.platform import posix_folders
from tests.kit.transfers import (
    ID,
    Places,
    contents,
    folder_transfer,
    hashes_of,
    offer_of,
    pattern,
    pieces_of,
    put_all,
)

DATA = pattern(1_500_000)
OFFER = offer_of(DATA)


def ready(places: Places, data: bytes = DATA, **fields: object) -> Staging:
    offer = offer_of(data, **fields)
    staging = places.begin(offer)
    put_all(staging, offer, data)
    return staging


def small_tree(root: Path, **files: str) -> Path:
    root.mkdir(parents=True)
    for name, text in {"a.txt": "a", "sub/b.txt": "b", "sub/deep/c.txt": "c", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def ready_tree(places: Places, source: Path) -> Staging:
    offer, stream = folder_transfer(source)
    staging = places.begin(offer)
    put_all(staging, offer, stream)
    return staging


def names(places: Places) -> list[str]:
    return sorted(os.listdir(places.inbox_path))


def test_the_first_free_name_is_taken(places: Places) -> None:
    for number in range(1, 4):
        staging = ready(places)
        landed = place(staging, places.inbox, 0)
        assert landed.name == ("report.pdf" if number == 1 else f"report ({number}).pdf")
        assert landed.how == ("new" if number == 1 else "renamed")
        assert landed.path == f"{places.inbox_path}/{landed.name}"
        assert Path(landed.path).read_bytes() == DATA
        assert os.listdir(places.staging_path / ID.hex()) == []
        staging.close()
        forget(places.staging, ID)
    assert os.listdir(places.staging_path) == []


@pytest.mark.parametrize("there", ["file", "folder", "link", "pipe"])
def test_skip_keeps_what_is_there_and_nothing_of_ours(places: Places, there: str) -> None:
    path = places.inbox_path / "report.pdf"
    {
        "file": lambda: path.write_bytes(b"old"),
        "folder": path.mkdir,
        "link": lambda: path.symlink_to("nowhere"),
        "pipe": lambda: os.mkfifo(path),
    }[there]()
    landed = place(ready(places), places.inbox, 0, "skip")
    assert (landed.name, landed.how) == ("report.pdf", "skipped")
    assert names(places) == ["report.pdf"]
    assert os.listdir(places.staging_path) == []


def test_skip_takes_a_free_name(places: Places) -> None:
    staging = ready(places)
    assert place(staging, places.inbox, 0, "skip").how == "new"
    staging.close()


def test_overwrite_replaces_a_file(places: Places) -> None:
    (places.inbox_path / "report.pdf").write_bytes(b"old")
    staging = ready(places)
    landed = place(staging, places.inbox, 0, "overwrite")
    staging.close()
    assert (landed.name, landed.how) == ("report.pdf", "replaced")
    assert (places.inbox_path / "report.pdf").read_bytes() == DATA


def test_overwrite_replaces_a_link_and_not_what_it_leads_to(places: Places) -> None:
    outside = places.base / "precious"
    outside.write_bytes(b"precious")
    (places.inbox_path / "report.pdf").symlink_to(outside)
    staging = ready(places)
    place(staging, places.inbox, 0, "overwrite")
    staging.close()
    assert outside.read_bytes() == b"precious"
    assert not (places.inbox_path / "report.pdf").is_symlink()


@pytest.mark.parametrize("there", ["folder", "pipe"])
def test_overwrite_does_not_remove_what_is_no_file(places: Places, there: str) -> None:
    path = places.inbox_path / "report.pdf"
    os.mkfifo(path) if there == "pipe" else (path / "kept").mkdir(parents=True)
    staging = ready(places)
    with pytest.raises(CommandError, match="in the way") as met:
        place(staging, places.inbox, 0, "overwrite")
    assert met.value.kind == "exists"
    assert path.exists()
    assert place(staging, places.inbox, 0, "rename").name == "report (2).pdf"
    staging.close()


def test_a_folder_is_one_thing(places: Places) -> None:
    source = small_tree(places.sources / "project")
    for number in range(1, 3):
        staging = ready_tree(places, source)
        landed = place(staging, places.inbox, 0)
        staging.close()
        forget(places.staging, ID)
        assert landed.name == ("project" if number == 1 else f"project ({number})")
        assert contents(places.inbox_path / landed.name) == contents(source)


def test_overwrite_fills_a_folder_and_removes_nothing(places: Places) -> None:
    small_tree(places.inbox_path / "project", **{"a.txt": "old", "mine.txt": "mine", "sub/mine.txt": "mine"})
    (places.inbox_path / "project" / "sub" / "deep" / "c.txt").unlink()
    (places.inbox_path / "project" / "sub" / "deep").rmdir()
    outside = places.base / "precious"
    outside.write_text("precious")
    (places.inbox_path / "project" / "sub" / "b.txt").unlink()
    (places.inbox_path / "project" / "sub" / "b.txt").symlink_to(outside)
    source = small_tree(places.sources / "project")
    (source / "empty").mkdir()
    staging = ready_tree(places, source)
    landed = place(staging, places.inbox, 0, "overwrite")
    staging.close()
    assert landed.how == "replaced"
    assert contents(places.inbox_path / "project") == {
        **contents(source),
        "mine.txt": b"mine",
        "sub/mine.txt": b"mine",
    }
    assert outside.read_text() == "precious"


@pytest.mark.parametrize("way", ["link to a folder", "file", "folder for a file"])
def test_filling_follows_no_link_and_removes_no_folder(places: Places, way: str) -> None:
    outside = places.base / "outside"
    outside.mkdir()
    inside = places.inbox_path / "project"
    inside.mkdir()
    if way == "link to a folder":
        (inside / "sub").symlink_to(outside)
    elif way == "file":
        (inside / "sub").write_text("a file")
    else:
        (inside / "sub" / "b.txt").mkdir(parents=True)
    staging = ready_tree(places, small_tree(places.sources / "project"))
    with pytest.raises(CommandError, match="in the way") as met:
        place(staging, places.inbox, 0, "overwrite")
    assert met.value.kind == "exists"
    assert os.listdir(outside) == []
    staging.close()


# -- crashes between two steps --------------------------------------------------------------------


class Crash(Exception):
    """The process is gone here."""


class Stops:
    """Raises at the k-th of the steps that change a disk while a transfer is placed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, after: bool) -> None:
        self.left, self.after = at, after
        for owner, step in (
            (posix_folders.Folder, "put_new"),
            (posix_folders.Folder, "put_over"),
            (posix_folders.Folder, "sync"),
            (posix_folders.Folder, "remove"),
            (posix_folders.Folder, "remove_tree"),
            (states.StateLog, "append"),
            (states.StateLog, "sync"),
            (posix_folders.os, "link"),
            (posix_folders.os, "unlink"),
        ):
            monkeypatch.setattr(owner, step, self._wrapped(getattr(owner, step)))

    def _wrapped(self, real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            here = self.left == 0  # steps within this step count as well
            if here and not self.after:
                raise Crash
            done = real(*arguments, **named)
            if here:
                raise Crash
            return done

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["file", "tree", "file over", "tree over"])
def test_a_crash_at_any_step_of_placing_is_repaired_by_the_next(
    tmp_path_factory: pytest.TempPathFactory, kind: str, after: bool
) -> None:
    """Exactly one copy, with the name it was to have, whatever the step; and all of it."""
    conflict: inboxes.Conflict = "overwrite" if kind.endswith("over") else "rename"
    for at in range(1, 200):
        places = Places(tmp_path_factory.mktemp("play"))
        if kind.startswith("file"):
            staging = ready(places)
            offer, name = staging.offer, "report.pdf"
            if conflict == "overwrite":
                (places.inbox_path / name).write_bytes(b"old")
        else:
            staging = ready_tree(places, small_tree(places.sources / "project"))
            offer, name = staging.offer, "project"
            if conflict == "overwrite":
                small_tree(places.inbox_path / name, **{"a.txt": "old", "kept.txt": "kept"})
        staging.sync(0)
        with pytest.MonkeyPatch.context() as patch:
            Stops(patch, at, after)
            try:
                place(staging, places.inbox, 0, conflict)
                finished = True
            except Crash:
                finished = False
        staging.close()
        again = places.begin(offer)
        landed = place(again, places.inbox, 0, conflict)
        again.close()
        forget(places.staging, offer.id)
        assert landed.name == name, at
        assert names(places) == [name], (at, after)
        if kind.startswith("file"):
            assert (places.inbox_path / name).read_bytes() == DATA
        else:
            expected = contents(places.sources / "project")
            if conflict == "overwrite":
                expected["kept.txt"] = b"kept"
            assert contents(places.inbox_path / name) == expected, at
        assert os.listdir(places.staging_path) == []
        places.close()
        if finished:
            break
    else:
        raise AssertionError("it never came through")
    assert at > 5


def test_what_was_placed_and_then_changed_by_its_user_is_not_placed_again(places: Places) -> None:
    """Killed after the name was given and before the ledger knew: asked again, it says the same."""
    staging = ready_tree(places, small_tree(places.sources / "project"))
    offer = staging.offer
    place(staging, places.inbox, 0)
    staging.close()
    (places.inbox_path / "project" / "a.txt").unlink()
    again = places.begin(offer)
    assert again.placing == (states.PLACED, "project")
    assert place(again, places.inbox, 0).name == "project"
    again.close()
    assert names(places) == ["project"]


@pytest.mark.parametrize("kind", ["file", "tree"])
@pytest.mark.parametrize("same", [True, False])
def test_a_power_cut_that_gave_both_names_back(places: Places, kind: str, same: bool) -> None:
    """The name was announced and something bears it, which is not the staged file itself: if it has
    the same bytes it is ours, else somebody else's."""
    source = small_tree(places.sources / "project")
    staging = ready(places) if kind == "file" else ready_tree(places, source)
    name, second = ("report.pdf", "report (2).pdf") if kind == "file" else ("project", "project (2)")
    staging.sync(0)
    staging.announce(states.PLACE, name)
    staging.close()
    if kind == "file":
        (places.inbox_path / name).write_bytes(DATA if same else DATA[::-1])
    else:
        small_tree(places.inbox_path / name, **({} if same else {"a.txt": "A"}))
    again = places.begin(staging.offer)
    landed = place(again, places.inbox, 0)
    again.close()
    assert landed.name == (name if same else second)
    assert names(places) == sorted({name, landed.name})
    assert os.listdir(places.staging_path / ID.hex()) == []


def test_somebody_is_faster(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is free when it is looked at, and taken when it is given."""
    (places.inbox_path / "report.pdf").write_bytes(b"theirs")
    staging = ready(places)
    real = posix_folders.Folder.look

    def blind(self: posix_folders.Folder, name: str) -> Any:
        return None if name == "report.pdf" else real(self, name)

    monkeypatch.setattr(posix_folders.Folder, "look", blind)
    assert place(staging, places.inbox, 0).name == "report (2).pdf"
    staging.close()
    assert (places.inbox_path / "report.pdf").read_bytes() == b"theirs"


# -- an inbox on another disk ---------------------------------------------------------------------


@pytest.fixture
def other_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The staging folder and the inbox are on two disks; within either all is as ever."""
    real = {step: getattr(posix_folders.Folder, step) for step in ("put_new", "put_over")}

    def across(step: str) -> Any:
        def call(self: Any, name: str, into: Any, new: str) -> None:
            if ("/staging" in self.path) != ("/staging" in into.path):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            real[step](self, name, into, new)

        return call

    for step in real:
        monkeypatch.setattr(posix_folders.Folder, step, across(step))


@pytest.mark.usefixtures("other_disk")
def test_on_another_disk_all_is_copied_before_it_has_its_name(places: Places) -> None:
    (places.inbox_path / "report.pdf").write_bytes(b"old")
    staging = ready(places)
    assert place(staging, places.inbox, 0).name == "report (2).pdf"
    staging.close()
    forget(places.staging, ID)
    path = places.inbox_path / "report (2).pdf"
    assert path.read_bytes() == DATA
    assert path.stat().st_mtime_ns == OFFER.mtime
    assert path.stat().st_mode & 0o777 == 0o600
    staging = ready(places)
    assert place(staging, places.inbox, 0, "overwrite").name == "report.pdf"
    staging.close()
    forget(places.staging, ID)
    assert (places.inbox_path / "report.pdf").read_bytes() == DATA
    source = small_tree(places.sources / "project")
    small_tree(places.inbox_path / "project", **{"a.txt": "old", "mine": "mine"})
    for conflict, name in (("rename", "project (2)"), ("overwrite", "project")):
        staging = ready_tree(places, source)
        assert place(staging, places.inbox, 0, conflict).name == name  # type: ignore[arg-type]
        staging.close()
        forget(places.staging, ID)
    assert contents(places.inbox_path / "project (2)") == contents(source)
    assert contents(places.inbox_path / "project") == {**contents(source), "mine": b"mine"}
    assert names(places) == ["project", "project (2)", "report (2).pdf", "report.pdf"]


@pytest.mark.usefixtures("other_disk")
def test_a_copy_that_does_not_fit_leaves_nothing(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = ready(places)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(inboxes, "write_at", full)
    with pytest.raises(CommandError) as met:
        place(staging, places.inbox, 0)
    assert met.value.kind == "disk_full"
    assert names(places) == []
    monkeypatch.undo()
    staging.close()
    again = places.begin(OFFER)
    assert place(again, places.inbox, 0).name == "report.pdf"
    again.close()


# -- the same bytes already there -----------------------------------------------------------------


def known(staging: Staging) -> Staging:
    staging.learn(0, hashes_of(staging.offer, DATA))
    return staging


def test_the_same_file_is_recognised_under_any_name(places: Places) -> None:
    (places.inbox_path / "other name.bin").write_bytes(DATA)
    (places.inbox_path / "a.bin").write_bytes(DATA[:-1] + b"?")
    (places.inbox_path / "b.bin").write_bytes(DATA[:-1])
    staging = places.begin(OFFER)
    assert same_file(places.inbox, OFFER, staging.hash_of) is None, "no hash is known yet"
    known(staging)
    assert same_file(places.inbox, OFFER, staging.hash_of) == "other name.bin"
    (places.inbox_path / "report.pdf").write_bytes(DATA)
    assert same_file(places.inbox, OFFER, staging.hash_of) == "report.pdf"
    staging.close()


def test_links_and_other_sizes_are_no_candidates(places: Places) -> None:
    (places.base / "elsewhere").write_bytes(DATA)
    (places.inbox_path / "report.pdf").symlink_to(places.base / "elsewhere")
    os.mkfifo(places.inbox_path / "pipe")
    staging = known(places.begin(OFFER))
    assert same_file(places.inbox, OFFER, staging.hash_of) is None
    staging.close()


def test_only_so_many_are_read(places: Places) -> None:
    for number in range(inboxes.MAX_CANDIDATES):
        (places.inbox_path / f"a{number:02}").write_bytes(bytes(len(DATA)))
    (places.inbox_path / "z").write_bytes(DATA)
    staging = known(places.begin(OFFER))
    assert same_file(places.inbox, OFFER, staging.hash_of) is None
    (places.inbox_path / "a00").unlink()
    assert same_file(places.inbox, OFFER, staging.hash_of) == "z"
    staging.close()


def test_the_same_folder_is_recognised(places: Places) -> None:
    source = small_tree(places.sources / "project", **{"big": "x" * 3_000_000})
    offer, stream = folder_transfer(source)
    small_tree(places.inbox_path / "project", **{"big": "x" * 3_000_000})
    staging = places.begin(offer)
    staging.learn(0, hashes_of(offer, stream))
    with places.inbox.child("project") as there:
        assert not same_tree(staging, there), "what lies where is not known yet"
        staging.put(0, pieces_of(offer, stream)[0])
        assert same_tree(staging, there)
        extra = places.inbox_path / "project" / "extra"
        extra.write_text("one more")
        assert not same_tree(staging, there)
        extra.unlink()
        assert same_tree(staging, there)
        (places.inbox_path / "project" / "sub" / "b.txt").write_text("B")
        assert not same_tree(staging, there)
        (places.inbox_path / "project" / "sub" / "b.txt").unlink()
        (places.inbox_path / "project" / "sub" / "b.txt").symlink_to("../a.txt")
        assert not same_tree(staging, there)
    staging.close()


def test_pieces_that_lie_here_are_not_fetched(places: Places) -> None:
    big = {f"big {n}": str(n) * 2_000_000 for n in range(4)}
    source = small_tree(places.sources / "project", **big)
    offer, stream = folder_transfer(source)
    small_tree(places.inbox_path / "project", **{**big, "big 2": "?" * 2_000_000})
    (places.inbox_path / "project" / "big 3").write_text("other size")
    staging = places.begin(offer)
    staging.learn(0, hashes_of(offer, stream))
    parts = pieces_of(offer, stream)
    staging.put(0, parts[0])
    with places.inbox.child("project") as there:
        adopted = adopt(staging, there)
    assert adopted >= 2
    missing = list(staging.done.missing())
    assert len(missing) + adopted + 1 == len(parts)
    assert missing == list(range(missing[0], len(parts))), "only what belongs to the two that differ"
    for number in missing:
        staging.put(number, parts[number])
    landed = place(staging, places.inbox, 0)
    staging.close()
    assert contents(places.inbox_path / landed.name) == contents(source)
