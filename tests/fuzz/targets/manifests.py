"""Manifests of folders: read, given safe names, and laid out over a stream."""

from __future__ import annotations

from p2pchat.files import manifest
from p2pchat.files.manifest import Layout
from p2pchat.files.names import same_key
from p2pchat.wire.messages.files import Entry

NAMES = ("a", "..", "a/b", "CON", "\u202e", "é", "e\u0301", ".x", "-x", "x" * 300, "\0", "A", "file", "ﬁle")


def seeds() -> list[bytes]:
    files = [Entry((name, "inside"), False, len(name), 1) for name in NAMES]
    folders = [Entry(("empty", name), True, 0, 1) for name in NAMES]
    made = (
        manifest.make(files),
        manifest.make(folders),
        manifest.make([*files, *folders]),
        manifest.make([]),
    )
    sizes = sum(entry.size for entry in files)
    return [size.to_bytes(8, "big") + raw for raw in made for size in (sizes, 0)]


def one_input(data: bytes) -> None:
    """Eight bytes: what all files have together; then the manifest."""
    content, raw = int.from_bytes(data[:8], "big"), data[8:]
    entries = manifest.read(raw, content)
    assert manifest.make(entries) == raw
    places = manifest.places(entries)
    assert places == manifest.places(entries)
    taken = [tuple(same_key(name) for name in place.path) for place in places]
    assert len(set(taken)) == len(taken), "twins on some system"
    for place, entry in zip(places, entries, strict=True):
        assert len(place.path) == len(entry.path)
        for name in place.path:
            assert 0 < len(name.encode()) <= 255
            assert "/" not in name
            assert name not in (".", "..")
    layout = Layout(len(raw), (entry.size for entry in entries))
    assert layout.size == len(raw) + content
    for at in (0, len(raw), len(raw) + content // 2):
        covered = sum(part.length for part in layout.parts(at, 1 << 20))
        assert covered == max(0, min(layout.size - at, 1 << 20))
