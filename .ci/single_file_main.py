# The first code that runs inside the single file `p2pchat.pyz`.
#
# Decides: whether this Python and this system can run it, where it is unpacked, and that nobody else
# can have put anything there. Does not know: what p2pchat does.
#
# Kept to the syntax every Python since 2.7 reads, so that an old one can say its sentence; it imports
# only what the good path needs, for it runs before every command. The builder puts the literal dict in
# the place of None: {"key", "version", "system", "machine", "glibc", "tags": {tag: [wheel, ...]},
# "sha256": {wheel: hex}}.
from __future__ import print_function

import os
import sys

BUNDLE = None  # written by build_single_file.py


class Refused(Exception):
    """This machine or its folders cannot run the file; the text is the whole sentence."""


def python_tag():
    """The tag of the running interpreter as wheels name it, 'cp312'; 'cp313t' is without the global lock."""
    name = getattr(getattr(sys, "implementation", None), "name", "cpython")  # 2.7 has no such field
    tag = ("cp" if name == "cpython" else name) + "%d%d" % sys.version_info[:2]
    return tag + "t" if "t" in getattr(sys, "abiflags", "") else tag


def fitting_tag(bundle):
    """The tag of the carried set of wheels for this interpreter; Refused names what would fit."""
    versions = ", ".join("%s.%s" % (tag[2], tag[3:]) for tag in sorted(bundle["tags"]))
    fits = "CPython %s on %s %s" % (versions, bundle["system"], bundle["machine"])
    tag = python_tag()
    if tag not in bundle["tags"]:
        mine = "Python %d.%d (%s)" % (sys.version_info[0], sys.version_info[1], tag)
        raise Refused("this file runs on %s; this is %s: start it with one of those" % (fits, mine))
    if not sys.platform.startswith(bundle["system"]) or os.uname()[4] != bundle["machine"]:
        mine = sys.platform if not hasattr(os, "uname") else "%s %s" % (sys.platform, os.uname()[4])
        raise Refused("this file runs on %s; this is %s: install p2pchat with pip here" % (fits, mine))
    have = glibc()
    if have < tuple(bundle["glibc"]):
        need = "glibc %d.%d or newer" % tuple(bundle["glibc"])
        mine = "glibc %d.%d" % have if have != (0, 0) else "another C library"
        raise Refused("this file needs %s; here is %s: install p2pchat with pip here" % (need, mine))
    return tag


def glibc():
    """Version of the C library as (major, minor); (0, 0) where it is not glibc."""
    try:
        said = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return (0, 0)
    parts = said.split()[-1].split(".") if said.startswith("glibc ") else []
    return (int(parts[0]), int(parts[1])) if len(parts) >= 2 else (0, 0)


def cache_root():
    """The folder all unpacked copies lie in: $XDG_CACHE_HOME/p2pchat/app or ~/.cache/p2pchat/app."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            raise Refused("no home folder to unpack into: set HOME or XDG_CACHE_HOME to a folder of yours")
        base = os.path.join(home, ".cache")
    return os.path.join(base, "p2pchat", "app")


def trusted_folder(path, private):
    """Refuse a folder that somebody else could have filled, or whose way there somebody else controls.

    private: it must be ours alone; else it may be root's, and a sticky shared one like /tmp.
    """
    import stat

    there = os.lstat(path)
    hint = ": set XDG_CACHE_HOME to a folder of yours"
    if not stat.S_ISDIR(there.st_mode):
        raise Refused("'%s' is no folder%s" % (path, hint))
    if there.st_uid != os.geteuid() and (private or there.st_uid != 0):
        raise Refused("'%s' belongs to user %d, not to you%s" % (path, there.st_uid, hint))
    if private and there.st_mode & 0o077:
        raise Refused("'%s' is open to others: run chmod 700 '%s'" % (path, path))
    if there.st_mode & 0o002 and not there.st_mode & stat.S_ISVTX:
        raise Refused("anybody can write to '%s'%s" % (path, hint))


def safe_cache(root):
    """Make the cache folder and return its real path; every folder on the way is checked.

    Our own two folders, p2pchat/app, must be ours alone (0700); those above may also be root's.
    """
    base = os.path.dirname(os.path.dirname(root))
    os.makedirs(base, 0o700, exist_ok=True)
    base = os.path.realpath(base)
    above = base
    while True:
        trusted_folder(above, private=False)
        if above == os.path.dirname(above):
            break
        above = os.path.dirname(above)
    path = base
    for name in ("p2pchat", "app"):
        path = os.path.join(path, name)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:  # looked at next, like a fresh one
            pass
        trusted_folder(path, private=True)
    return path


def sweep(cache):
    """Remove what an unpacking that was killed left behind; one that still runs is younger than an hour."""
    import shutil
    import time

    for name in os.listdir(cache):
        path = os.path.join(cache, name)
        if name.startswith("unpacking-") and time.time() - os.lstat(path).st_mtime > 3600:
            shutil.rmtree(path, ignore_errors=True)


def unpack(bundle, tag, archive, target):
    """Unpack the wheels of the tag beside `target`, then rename: whoever sees `target` sees all of it."""
    import hashlib
    import io
    import shutil
    import tempfile
    import zipfile

    beside = tempfile.mkdtemp(prefix="unpacking-", dir=os.path.dirname(target))
    try:
        with zipfile.ZipFile(archive) as outer:
            for wheel in bundle["tags"][tag]:
                try:
                    data = outer.read("wheels/" + wheel)
                except zipfile.BadZipFile:
                    data = b""
                if hashlib.sha256(data).hexdigest() != bundle["sha256"][wheel]:
                    raise Refused("'%s' is damaged at '%s': copy it again" % (archive, wheel))
                with zipfile.ZipFile(io.BytesIO(data)) as inner:
                    unpack_wheel(inner, beside)
        os.sync()  # a power cut after the rename must not leave empty files behind a complete name
        try:
            os.rename(beside, target)
        except OSError:
            if not os.path.isdir(target):
                raise
            # another start was faster; its copy has the same bytes
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def unpack_wheel(wheel, folder):
    """Put the importable files of one wheel into the folder; scripts and headers are left out."""
    import shutil

    for info in wheel.infolist():
        parts = info.filename.split("/")
        if parts[0].endswith(".data"):
            if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
                continue
            parts = parts[2:]
        if info.is_dir():
            continue
        if ".." in parts or "" in parts:
            raise Refused("a wheel names the path '%s'" % info.filename)
        path = os.path.join(folder, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with wheel.open(info) as source, open(path, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)


def prepare(bundle, archive):
    """The folder to import from, unpacked on the first start."""
    tag = fitting_tag(bundle)
    before = os.umask(0o077)  # whatever the caller's: what is unpacked is for its owner only
    try:
        cache = safe_cache(cache_root())
        target = os.path.join(cache, "%s-%s-%s" % (bundle["version"], tag, bundle["key"]))
        if not os.path.isdir(target):
            sweep(cache)
            unpack(bundle, tag, archive, target)
    finally:
        os.umask(before)
    trusted_folder(target, private=True)
    return target


def start():
    """Unpack if need be, then become the p2pchat command; children import from the same folder."""
    archive = os.path.dirname(os.path.abspath(__file__))
    try:
        folder = prepare(BUNDLE, archive)
    except Refused as said:
        print("p2pchat: %s" % said, file=sys.stderr)
        return 1
    except (OSError, IOError) as trouble:
        print(
            "p2pchat: cannot unpack: %s: set XDG_CACHE_HOME to a folder of yours" % trouble, file=sys.stderr
        )
        return 1
    sys.path[:] = [folder] + [path for path in sys.path if os.path.abspath(path) != archive]
    # `p2pchat up` starts its daemon as `python -m p2pchat`: that child finds the same copy, and no file of
    # the folder it happens to be started in.
    os.environ["PYTHONPATH"] = folder
    os.environ["PYTHONSAFEPATH"] = "1"
    from p2pchat_cli.main import run

    return run()


if __name__ == "__main__":
    sys.exit(start())
