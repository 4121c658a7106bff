"""Every decoder for some seconds: no exception but RemoteProtocolError.

The gate fuzzes 5 s a target from a fixed seed; `--full` 60 s from a new one, which the
failure prints.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import planted
from tests.fuzz.run import ROOT, RSS_LIMIT_MB, fuzz, module_of, names, replay

GATE_S = 5
FULL_S = 60
GATE_SEED = 1


@pytest.mark.parametrize("target", names())
def test_no_input_breaks_it(target: str, full: bool) -> None:
    seed = random.SystemRandom().randrange(1, 2**31) if full else GATE_SEED
    result = fuzz(target, FULL_S if full else GATE_S, seed)
    print(f"{target}: {result.executions} executions, seed {seed}")
    assert not result.finding, f"{target}, seed {seed}: {result.finding}"
    assert result.executions > 1000


def test_every_decoder_of_strangers_has_a_target() -> None:
    assert {
        *("bulk", "control", "events", "frames", "handshake"),
        *("manifests", "negentropy", "records", "states"),
    } <= set(names())


def test_a_planted_bug_is_found_kept_and_repeated() -> None:
    result = fuzz(planted.__name__, GATE_S, GATE_SEED)
    assert "KeyError" in result.finding
    path = Path(result.finding.split("--replay ")[1].split()[0])
    try:
        with pytest.raises(KeyError):
            replay(planted.__name__, path)
    finally:
        path.unlink()


def test_the_size_of_whoever_starts_it_is_not_a_decoders() -> None:
    large = f"held = bytearray({RSS_LIMIT_MB + 64} << 20); held[::4096] = bytes(len(held[::4096]))"
    call = "from tests.fuzz.run import fuzz; print(repr(fuzz('records', 1, 1).finding))"
    done = subprocess.run(
        [sys.executable, "-c", f"{large}; {call}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "''\n"


def test_what_a_stranger_may_cause_is_no_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"x")
    replay(planted.__name__, short)
    assert "refused as it should be: too short" in capsys.readouterr().out
    assert module_of("frames") == "tests.fuzz.targets.frames"
