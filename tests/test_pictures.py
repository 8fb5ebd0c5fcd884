"""Pictures of studies of every shape: they are drawn, and show what there is."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest

from caviar.result import DIVERGED, Result
from caviar.search.pictures import draw_pictures
from caviar.search.settings import SearchSettings
from caviar.search.stages import plan
from caviar.search.study import Study
from caviar.search.trials_picture import draw_trials
from caviar.space import Axis, Choice, Integer, Log, OneMinusLog, Space
from caviar.space.sweep_file import SweepFile

SPACES = {
    "lr alone": Space((Axis("optimizer.lr", Log(1e-4, 1.0)),)),
    "the lecture's plane": Space(
        (Axis("optimizer.lr", Log(1e-4, 1.0)), Axis("optimizer.momentum", OneMinusLog(1e-3, 0.1)))
    ),
    "choices": Space(
        (Axis("model.act", Choice(("relu", "tanh"))), Axis("data.batch", Choice((16, 32, 64))))
    ),
    "a frozen axis": Space(
        (Axis("optimizer.lr", Log(1e-4, 1.0)), Axis("model.width", Choice((64,))))
    ),
    "whole numbers": Space(
        (Axis("model.width", Integer(8, 64)), Axis("model.depth", Integer(1, 4)))
    ),
}


def made(folder: Path, space: Space, mode: str, trials: int = 12) -> Study:
    study = Study(
        settings=SearchSettings(study="s"),
        folder=folder,
        storage=str(folder / "study.journal"),
        metric="val/loss" if mode == "min" else "val/acc",
        mode=mode,
        overrides=[],
        launch=lambda jobs, first: None,
    )
    sweep = SweepFile("s", "01_coarse", space, trials, study.metric, mode)
    study.ledger.begin("01_coarse", {"sweep": sweep.text(), "overrides": []}, mode)
    drawn = plan(sweep, study.settings)
    study.ledger.extend("01_coarse", drawn, space)
    for number in range(len(drawn)):
        study.ledger.claim("01_coarse", number)
        for epoch in range(3):
            study.ledger.report("01_coarse", number, epoch, 1 / (1 + number + epoch))
        status = DIVERGED if number % 5 == 4 else "complete"
        best = 1 / (3 + number)
        result = Result(status, best=best, best_epoch=2, last=best)
        study.ledger.finish("01_coarse", number, result)
    return study


@pytest.mark.parametrize(
    ("name", "mode"), [*((name, "min") for name in SPACES), ("the lecture's plane", "max")]
)
def test_every_kind_of_study_is_drawn(runs: Path, name: str, mode: str) -> None:
    left = draw_pictures(made(runs / "s", SPACES[name], mode))
    assert [path.name for path, _ in left] == ["trials.png", "curves.png", "best.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path, _ in left)


def test_a_study_of_one_trial_is_drawn(runs: Path) -> None:
    assert len(draw_pictures(made(runs / "s", SPACES["lr alone"], "min", trials=1))) == 3


def plane(study: Study, space: Space) -> tuple[str, str, int]:
    """Labels of both axes, and how many places the trials of the first stage lie in."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    draw_trials(ax, study, {"01_coarse": study.ledger.trials("01_coarse")}, {"01_coarse": space})
    places = {tuple(xy) for xy in ax.collections[0].get_offsets().tolist()}
    plt.close(figure)
    return ax.get_xlabel(), ax.get_ylabel(), len(places)


def test_a_single_axis_is_drawn_against_the_metric(runs: Path) -> None:
    space = SPACES["lr alone"]
    assert plane(made(runs / "s", space, "min"), space)[:2] == ("optimizer.lr", "val/loss")


def test_momentum_goes_up_and_names_its_scale(runs: Path) -> None:
    space = SPACES["the lecture's plane"]
    up = "optimizer.momentum, log in 1-β"
    assert plane(made(runs / "s", space, "min"), space)[:2] == ("optimizer.lr", up)


def test_trials_of_one_choice_do_not_hide_one_another(runs: Path) -> None:
    space = SPACES["choices"]
    assert plane(made(runs / "s", space, "min"), space)[2] == 10  # two diverged
