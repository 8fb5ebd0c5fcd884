"""What is printed misleads nobody: one name for one thing, one error for one number, and no winner
where none is shown. Each test holds a kind of words, wherever they stand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caviar.base.result import Result
from caviar.pages.axes import axes_section
from caviar.pages.budget import budget_section
from caviar.pages.confirm import confirm_section
from caviar.pages.importance import importance_section
from caviar.pages.snapshot import Snapshot
from caviar.pages.trials import trials_section
from caviar.pages.verdict import verdict_section
from caviar.refine import Refinement
from caviar.refine.ranges import SHARES
from caviar.search.loop import print_refinement, print_verdict
from caviar.search.more_seeds import how_to_decide
from caviar.search.settings import VERDICT
from caviar.search.study import Study
from caviar.search.verdict import Setting, Verdict, write_verdict
from caviar.search.winner import winner_text
from caviar.space import Space
from caviar.space.sweep_file import SweepFile
from caviar.training.winner import _winner
from conftest import ROOT
from made_studies import BATCH, BETA, LR, made

SHOWN, INSIDE, WORSE = [0.2, 0.21, 0.2, 0.19], [0.28, 0.33, 0.25, 0.3], [0.4, 0.5, 0.4, 0.4]
CASES = {"shown": SHOWN, "inside the noise": INSIDE, "behind": WORSE, "of one seed": [0.2]}


@pytest.fixture(autouse=True)
def project(runs: Path, monkeypatch: pytest.MonkeyPatch, hydra_state: None) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def study(runs: Path) -> Study:
    return made(runs / "s", Space((LR, BETA, BATCH)), {"01_coarse": 24, "02_fine": 8})


def verdict_of(study: Study, values: list[float], tested: bool) -> Verdict:
    """The best of two candidates, as its seeds have it; the test set tells the opposite."""
    trials = study.ledger.trials("01_coarse")
    default = Setting("default", {}, [0.3, 0.32, 0.31, 0.3], [0, 1, 2, 3])
    found, other = (
        Setting(f"01_coarse/{t.number}", dict(t.point), values, [4], f"01_coarse/{t.number}")
        for t in trials[:2]
    )
    found.trials = list(range(4, 4 + len(values)))
    other.values, other.trials = [0.6], [8]
    verdict = Verdict("val/loss", "min", 0.01, default, found, [other], 40)
    if verdict.gain < 0:
        verdict.winner, verdict.others = default, [found, other]
    verdict.decided = tested or not verdict.open
    if tested:
        default.test = {"test/loss": [0.1, 0.11, 0.1, 0.1]}
        verdict.winner.test = verdict.winner.test or {"test/loss": [0.3, 0.31, 0.3, 0.3]}
    return verdict


def said(study: Study, verdict: Verdict, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """All that terminal, page and files say of a verdict, by sentence or line."""
    print_verdict(verdict, study)
    lines = capsys.readouterr().out.splitlines()
    snapshot = replace(Snapshot.of(study), verdict=verdict)
    for section in (verdict_section(snapshot), confirm_section(snapshot)):
        lines += section.words
        lines += [cell for table in section.tables for row in table.rows for cell in row]
    text = winner_text("s", {}, verdict, [], "", verdict.kept)
    return [*lines, *(line for line in text.splitlines() if line.startswith("# "))]


@pytest.mark.parametrize("tested", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_nothing_wins_that_is_not_shown_to(
    study: Study, case: str, tested: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = verdict_of(study, CASES[case], tested)
    assert verdict.clear == (case == "shown")
    lines = said(study, verdict, capsys)
    # The first sentence of the page is what to do; so is that of each place that says anything.
    head = "The winner, 01_coarse/0, beats" if verdict.clear else r"(Not shown|No setting).*keep it"
    page = verdict_section(replace(Snapshot.of(study), verdict=verdict)).words[0]
    assert re.match(head, page)
    if not verdict.clear:
        assert not [line for line in lines if re.search(r"\bwinn|\bbeats\b", line)]
    assert any("it is worse there" in line for line in lines) == (
        tested and verdict.winner is not verdict.default
    )
    asked = [line for line in lines if "search.confirm.budget=" in line]
    assert bool(asked) == (not verdict.decided)


@pytest.mark.parametrize("case", CASES)
def test_a_setting_has_one_name_and_a_sentence_one_kind_of_error(
    study: Study, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = verdict_of(study, CASES[case], tested=case != "inside the noise")
    lines = [*said(study, verdict, capsys), *how_to_decide(verdict, "s")]
    assert not [line for line in lines if re.search(r"candidate \d", line)]
    assert {s.name for _, s in verdict.rows()} == {"default", "01_coarse/0", "01_coarse/1"}
    assert all(label.startswith(setting.name) for label, setting in verdict.rows())
    for sentence in (sentence for line in lines for sentence in line.split(". ")):
        assert not ("±" in sentence and "σ" in sentence) or "mean ± s.e." in sentence, sentence
        if "standard errors" in sentence and "needed" in sentence:
            assert re.search(r"standard errors (of the difference|needed)", sentence), sentence


def test_each_measure_of_importance_is_told_from_the_other(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reasons = {LR.name: ["was log 0.0001 … 1", "takes part in 71% of the rank variance"]}
    study = made(runs / "s", Space((LR, BATCH)), {"01_coarse": 12, "02_fine": 8}, reasons=reasons)
    snapshot = Snapshot.of(study)
    for section in (axes_section, importance_section):
        assert re.search("with\\s+others", " ".join(section(snapshot).words)), section
    sweep = SweepFile("s", "03_finest", snapshot.space, 4, "val/loss", "min")
    print_refinement(sweep, Refinement(snapshot.space, reasons, [], {}))
    assert SHARES in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("case", CASES)
def test_what_is_loaded_is_what_the_verdict_says(runs: Path, study: Study, case: str) -> None:
    verdict = verdict_of(study, CASES[case], tested=True)
    write_verdict(verdict, study.folder / VERDICT)
    for trial in (*verdict.default.trials, *verdict.winner.trials):
        folder = study.folder / "confirm" / str(trial)
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        (folder / "checkpoints/best.ckpt").touch()
        Result(best=0.3, checkpoint=str(folder / "checkpoints/best.ckpt")).write(folder)
    run, _ = _winner(study.folder)
    assert int(run.name) in (verdict.winner if case == "shown" else verdict.default).trials


def parts(spec: Any) -> list[dict[str, Any]]:
    """Every node of a picture's description."""
    if isinstance(spec, list):
        return [node for one in spec for node in parts(one)]
    if not isinstance(spec, dict):
        return []
    return [spec, *(node for one in spec.values() for node in parts(one))]


def test_no_pointer_names_a_column_of_ours(study: Study) -> None:
    """Such as `x2`, or the name of a momentum over 1-β."""
    snapshot = replace(Snapshot.of(study), verdict=verdict_of(study, SHOWN, tested=True))
    sections = (axes_section, importance_section, trials_section, confirm_section, budget_section)
    charts = [chart for section in sections for chart in section(snapshot).charts]
    assert "interaction" in {chart.name for chart in charts}
    for chart in charts:
        for node in parts(chart.spec):
            mark = node.get("mark")
            assert not isinstance(mark, dict) or "tooltip" not in mark, chart.name
            for says in node.get("encoding", {}).get("tooltip", []):
                assert says["title"] not in ("x", "x2", "y", "y2"), chart.name
                assert says["field"] not in ("x", "y") or chart.name == "expected_best", chart.name
    (surface,) = (c.spec["layer"][0] for c in charts if c.name == "interaction")
    titles = [says["title"] for says in surface["encoding"]["tooltip"]]
    assert titles[2] == "expected val/loss"
    if BETA.key in titles:
        field = surface["encoding"]["tooltip"][titles.index(BETA.key)]["field"]
        head, *rows = surface["data"]["values"].splitlines()
        column = [float(row.split(",")[head.split(",").index(field)]) for row in rows]
        assert min(column) > 0.89
        assert max(column) < 1
