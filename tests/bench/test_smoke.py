"""Every figure's script runs and yields sane JSON; a table says what was measured. Nothing is timed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench import smoke
from tests.bench.report import Report, Table, Verdict, percentile
from tests.bench.rivals import Rivals
from tests.kit.needs import needs_netns


@needs_netns
@pytest.mark.parametrize("name", list(smoke.TINY))
def test_the_script_runs_and_its_json_is_sane(name: str, tmp_path: Path) -> None:
    assert smoke.troubles(name, smoke.run(name, tmp_path)) == []


def test_every_figure_is_listed_and_has_its_slice(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([]) == 0
    listed = capsys.readouterr().out
    assert set(bench.present()) - {"store_rows"} == set(smoke.TINY)
    assert all(f"tests.bench.{name}" in listed for name in smoke.TINY)


def test_a_table_says_medians_ratios_and_what_is_missing() -> None:
    table = Table("Times", {"p50": "µs"})
    for one, other in ((1.0, 10.0), (3.0, 30.0), (2.0, 10.0)):
        table.add("fast", p50=one)
        table.add("slow", "why", p50=other)
    assert table.ratio("slow", "fast", "p50") == 5
    assert table.ratio("slow", "nobody", "p50") is None
    assert "| slow | 10.00 [10.00-30.00] | why |" in table.markdown()
    with pytest.raises(ValueError, match="p51"):
        table.add("slow", p51=1.0)
    report = Report("times", "about", [table], [Verdict("slow / fast", 5, 1.6, 1.3)], {"rival": "no tool"})
    told = report.markdown()
    assert "**missed**" in told
    assert "rival: not available (no tool)" in told


@pytest.mark.parametrize(
    ("value", "word"), [(1.2, "aim"), (1.5, "must"), (1.7, "missed"), (None, "not measured")]
)
def test_a_verdict_has_one_word(value: float | None, word: str) -> None:
    assert Verdict("x", value, 1.6, 1.3).word == word


def test_a_verdict_with_an_aim_alone_misses_nothing() -> None:
    assert Verdict("x", 0.5, None, 0.85, at_most=False).word == "short of the aim"
    assert Verdict("x", 0.9, None, 0.85, at_most=False).markdown() == "- x: 0.900 (aim ≥ 0.850): **aim**"


def test_percentiles_are_samples() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([1.0] * 99 + [9.0], 99) == 9.0


def test_a_rival_that_is_not_there_is_named(tmp_path: Path) -> None:
    rivals = Rivals(tmp_path)
    assert "slixmpp" in rivals.lacks("tool:sh", "python:slixmpp")
    assert "no-such-tool" in rivals.lacks("tool:no-such-tool")
    assert rivals.lacks("tool:sh") == ""
