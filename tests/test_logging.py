"""Loggers and the profiler: what a run leaves, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import FAST, ROOT, Main

LOGGERS = {"tensorboard": "tensorboard", "mlflow": "mlflow"}  # conf/logger → its package


@pytest.mark.parametrize(
    ("name", "way"),
    [("tensorboard", []), ("mlflow", ["-m", "search.study=s", "search.num_trials=1"])],
)
def test_a_package_that_is_missing_is_named_before_anything_is_trained(
    main: Main,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    way: list[str],
) -> None:
    monkeypatch.setattr("caviar.config.packages.find_spec", lambda package: None)
    assert main(*way, f"logger={name}") == 2
    said = capsys.readouterr().err
    assert f"error: logger.{name} needs the package {LOGGERS[name]}, which is not" in said
    assert f"pip install {LOGGERS[name]}" in said
    assert not (runs / "s").exists()


def test_each_logger_of_the_template_says_how_it_is_used() -> None:
    for path in (ROOT / "conf/logger").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert f"python train.py logger={path.stem}" in text.splitlines()[0]
        nodes = yaml.safe_load(text)
        assert all("_target_" in nodes[key] for key in nodes if key != "defaults")


@pytest.mark.slow
def test_tensorboards_files_are_in_the_folder_of_each_trial(main: Main, runs: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    many = ["-m", "search.study=s", "search.num_trials=2", "hydra/launcher=basic"]
    assert main(*many, *FAST[:2], "logger=tensorboard") == 0
    for number in range(2):
        read = events.EventAccumulator(str(runs / f"s/01_coarse/{number}/tensorboard"))
        read.Reload()
        assert len(read.Scalars("val/loss")) == 2
        assert read.Scalars("val/loss_best")[-1].value == min(
            one.value for one in read.Scalars("val/loss")
        )


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")  # of MLflow's own
def test_mlflow_keeps_all_runs_in_one_file_and_goes_on_with_one(main: Main, runs: Path) -> None:
    """Trials side by side begin with no file, and make it once."""
    pytest.importorskip("mlflow")
    logger = ["logger=mlflow", "trainer.max_epochs=1"]
    many = ["-m", "search.study=s", "search.num_trials=3", "hydra/launcher=pool"]
    assert main(*many, *logger, "callbacks=none") == 0
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")

    def found() -> dict[str, Any]:
        (experiment,) = (e for e in client.search_experiments() if e.name == "digits")
        every = client.search_runs([experiment.experiment_id])
        return {run.info.run_name: run for run in every}

    first = found()
    assert set(first) == {f"s/01_coarse/{number}" for number in range(3)}
    for run in first.values():
        assert run.info.status == "FINISHED"
        assert {"val/loss", "val/loss_best"} <= set(run.data.metrics)
        assert "optimizer/lr" in run.data.params
    # A run that goes on in its own folder is the same run, though its parameters are others.
    assert main(*logger, "hydra.run.dir=" + str(runs / "one")) == 0
    assert main("logger=mlflow", "trainer.max_epochs=2", "hydra.run.dir=" + str(runs / "one")) == 0
    assert set(found()) == {*first, "one"}


@pytest.mark.slow
def test_the_profile_is_written(main: Main, runs: Path) -> None:
    assert main("debug=profile", "trainer.max_epochs=1") == 0
    assert "run_training_epoch" in (runs / "train/0/fit-profile.txt").read_text()


@pytest.mark.slow
def test_every_trial_is_a_wandb_run_of_its_own(
    main: Main, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    arguments = ["logger=wandb", "trainer.max_epochs=1", "callbacks=none"]
    assert main("-m", "search.study=s", "search.num_trials=2", *arguments) == 0
    for number in range(2):
        folder = runs / f"s/01_coarse/{number}/wandb"
        assert len(list(folder.glob("offline-run-*"))) == 1
