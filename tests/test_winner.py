"""What is left of a training: checkpoints that are kept, and a model that can be used again."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import caviar as package
from caviar.base.errors import UserError
from conftest import ROOT, Main, trials

pytestmark = pytest.mark.slow  # each trains a model, or several

STAGE = ["-m", "search.study=s", "search.num_trials=5", "hydra/launcher=basic", "logger=none"]
QUICK = ["trainer.max_epochs=1", "+trainer.limit_train_batches=4"]


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("'best 2'", 2),
        pytest.param("none", 0, marks=pytest.mark.nightly),
        pytest.param("all", 5, marks=pytest.mark.nightly),
    ],
)
def test_checkpoints_of_bad_trials_do_not_fill_the_disk(
    main: Main, runs: Path, keep: str, left: int
) -> None:
    assert main(*STAGE, *QUICK, f"search.keep_checkpoints={keep}") == 0
    finished = trials(runs)
    best = sorted(finished, key=lambda t: t.result.best if t.result and t.result.best else 9.0)
    kept = {int(file.parts[-3]) for file in (runs / "s/01_coarse").glob("*/checkpoints/best.ckpt")}
    assert kept == {t.number for t in best[:left]}


def test_what_to_keep_is_checked(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(*STAGE, "search.keep_checkpoints=best") == 2
    assert "search.keep_checkpoints=best should be all, none, or 'best 3'" in (
        capsys.readouterr().err
    )


def test_a_run_is_loaded_with_its_weights(main: Main, runs: Path) -> None:
    assert main(*QUICK, "model.width=32") == 0
    loaded = package.load(runs / "train/0")
    assert loaded.config.model.width == 32
    assert not loaded.model.training
    kept = torch.load(loaded.checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(kept[k], v) for k, v in loaded.model.state_dict().items())
    assert loaded.model(torch.zeros(2, 64)).shape == (2, 10)
    # Moved elsewhere it is found as well.
    (runs / "train/0").rename(runs / "mine")
    assert package.load(runs / "mine").checkpoint == runs / "mine/checkpoints/best.ckpt"
    with pytest.raises(UserError, match="neither a study that was confirmed nor a run"):
        package.load(runs)


def test_the_page_on_using_a_winner_runs(
    main: Main, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(*QUICK) == 0
    page = (ROOT / "docs/winner.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export's own, of its own parts
        exec(code.replace('"runs/digits"', f'"{runs}/train/0"'), names)
    winner, again, example = names["winner"], names["again"], names["example"]
    assert torch.allclose(again(example[:1]), winner.model(example[:1]), atol=1e-6)
    assert sum(len(batch) for batch in names["batches"]) == 359
    assert torch.equal(names["logits"], winner.model(example))
