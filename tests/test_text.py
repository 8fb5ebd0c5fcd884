"""A language model on Python's source: vocabulary, split, order, training, its space."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from caviar.base.errors import UserError
from caviar.training.data import EpochLoader, EpochSampler, SplitData
from caviar.training.models import CharGRU
from caviar.training.text import NUM_SYMBOLS, REPLACEMENT, UNKNOWN, SourceText, decode, encode
from conftest import FAST, Main

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
SMALL = [
    "experiment=text",
    "data.chars_per_file=257",
    "model.width=16",
    "optimizer.lr=0.03",
    "callbacks=none",
    "trainer.max_epochs=2",
]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Ten files of 36 different characters, and what must not be read."""
    folder = tmp_path / "library"
    (folder / "package").mkdir(parents=True)
    for i in range(10):
        (folder / f"file{i}.py").write_text(LETTERS[i:] + LETTERS[:i])
    for name in ("_private.py", "package/module.py", "text.txt"):
        (folder / name).write_text(LETTERS)
    return folder


def text(library: Path | None = None, **changed: Any) -> SourceText:
    folder = None if library is None else str(library)
    arguments = {"num_symbols": NUM_SYMBOLS, "length": 8, "folder": folder, **changed}
    module = SourceText(**{"chars_per_file": 30, "batch_size": 4, **arguments})
    module.setup()
    return module


def result(runs: Path, number: int) -> dict[str, object]:
    return json.loads((runs / "train" / str(number) / "result.json").read_text())


def values(runs: Path, number: int, name: str) -> list[float]:
    with (runs / "train" / str(number) / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def test_the_vocabulary_is_printable_ascii_newline_and_one_more() -> None:
    plain = "".join(map(chr, range(32, 127))) + "\n"
    assert sorted(encode(plain)) == list(range(96))
    assert decode(encode(plain)) == plain
    assert set(encode("\t\r\0\x7fé☃𝛃\ud800").tolist()) == {96}
    assert decode(encode("a☃\n")) == f"a{REPLACEMENT}\n"
    assert NUM_SYMBOLS == 97


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_any_text_has_one_symbol_for_each_character(given_text: str) -> None:
    symbols = encode(given_text)
    assert symbols.shape == (len(given_text),)
    known = [c if c == "\n" or " " <= c <= "~" else REPLACEMENT for c in given_text]
    assert decode(symbols) == "".join(known)


def test_the_split_is_by_file_and_a_function_of_its_seed(library: Path) -> None:
    one, again, other = text(library), text(library, seed=5), text(library, split_seed=1)
    assert {part: len(names) for part, names in one.files.items()} == {
        "train": 6,
        "val": 2,
        "test": 2,
    }
    assert sorted(itertools.chain(*one.files.values())) == [f"file{i}.py" for i in range(10)]
    assert one.files == again.files != other.files
    for part in ("train", "val", "test"):
        assert torch.equal(one.splits[part].inputs, again.splits[part].inputs)


def test_labels_are_the_next_characters_of_the_same_file(library: Path) -> None:
    data = text(library)  # 30 characters: three windows of 8, whose labels end at the 25th
    for part, names in data.files.items():
        rows = data.splits[part]
        assert rows.inputs.shape == rows.labels.shape == (3 * len(names), 8)
        assert rows.inputs.dtype == rows.labels.dtype == torch.int64
        for i, name in enumerate(names):
            whole = (library / name).read_text()
            assert decode(rows.inputs[3 * i : 3 * i + 3].flatten()) == whole[:24]
            assert decode(rows.labels[3 * i : 3 * i + 3].flatten()) == whole[1:25]


@pytest.mark.parametrize(("chars", "windows"), [(9, 1), (16, 1), (17, 2), (99, 4)])
def test_a_window_needs_one_character_more(library: Path, chars: int, windows: int) -> None:
    rows = text(library, chars_per_file=chars).splits["val"]
    assert len(rows) == 2 * windows


def test_a_file_that_is_too_short_or_no_text_does_no_harm(library: Path) -> None:
    for i, content in enumerate([b"", b"ab", b"\xff\xfe\0\x80" * 20]):
        (library / f"file{i}.py").write_bytes(content)
    data = text(library)
    sizes = {part: len(rows) for part, rows in data.splits.items()}
    assert sum(sizes.values()) == 3 * 8


def test_the_library_of_this_python() -> None:
    data = text(length=64, chars_per_file=1280, batch_size=32)
    names = [set(data.files[part]) for part in ("train", "val", "test")]
    assert sum(map(len, names)) == len(set.union(*names))
    assert {"abc.py", "ast.py", "typing.py"} <= set.union(*names)
    assert 60_000 < data.splits["train"].inputs.numel() < 200_000
    labels = data.splits["train"].labels
    assert (labels == UNKNOWN).float().mean() < 0.01
    start = decode(data.splits["val"].inputs[0])
    assert (data.folder / data.files["val"][0]).read_text().startswith(start)


def loaded(data: SplitData) -> tuple[EpochLoader, EpochSampler]:
    loader = data.train_dataloader()
    assert isinstance(loader, EpochLoader)
    assert isinstance(loader.sampler, EpochSampler)
    return loader, loader.sampler


def inputs_of(batches: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    return torch.cat([x for x, _ in batches])


def test_the_order_is_a_function_of_seed_and_epoch_and_goes_on_inside(library: Path) -> None:
    def order(seed: int, epoch: int, seen: int = 0) -> torch.Tensor:
        loader, sampler = loaded(text(library, seed=seed))
        sampler.set_epoch(epoch)
        loader.load_state_dict({"batches": seen})
        return inputs_of(list(loader))

    whole = order(0, 1)
    assert whole.shape == (18, 8)
    assert torch.equal(whole, order(0, 1))
    assert not torch.equal(whole, order(0, 2))
    assert not torch.equal(whole, order(1, 1))
    assert torch.equal(whole[3 * 4 :], order(0, 1, seen=3))


def test_about_a_hundred_thousand_parameters_whatever_the_machine(main: Main, runs: Path) -> None:
    model = CharGRU(NUM_SYMBOLS, width=112, depth=1)
    count = sum(p.numel() for p in model.parameters())
    assert count == 97 * 112 + 2 * (112 * 3 * 112 + 3 * 112) + 112 * 97 + 97
    assert 90_000 < count < 110_000
    assert main("experiment=text", "debug=fast") == 0  # one batch
    assert result(runs, 0)["num_params"] == count


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_model_sees_only_what_came_before(depth: int) -> None:
    model = CharGRU(num_symbols=7, width=5, depth=depth, dropout=0.5).eval()
    x = torch.randint(7, (3, 9))
    logits = model(x)
    assert logits.shape == (3, 7, 9)
    x[:, 4:] = (x[:, 4:] + 1) % 7
    changed = (model(x) != logits).any(dim=1)  # (3, 9)
    assert not changed[:, :4].any()
    assert changed[:, 4:].all()


def test_dropout_can_be_changed_while_it_trains() -> None:
    model, x = CharGRU(7, 5, 2), torch.randint(7, (2, 16))
    assert torch.equal(model(x), model(x))
    assert model.set_live("dropout", 0.5)
    assert not torch.equal(model(x), model(x))


@pytest.mark.slow
def test_a_text_model_learns_the_same_from_the_same_seed(main: Main, runs: Path) -> None:
    for _ in range(2):
        assert main(*SMALL, "model.dropout=0.1", "test=true") == 0
    first, again = (values(runs, i, "val/loss") for i in range(2))
    assert first == again
    trained = values(runs, 0, "train/loss")
    assert len(first) == len(trained) == 2
    assert first[1] < first[0] < np.log(NUM_SYMBOLS)
    assert trained[1] < trained[0]
    found = result(runs, 0)
    assert found["best"] == first[1]
    metrics = found["metrics"]
    assert isinstance(metrics, dict)
    assert 1 < metrics["test/loss"] < np.log(NUM_SYMBOLS)
    assert 0 < metrics["val/acc"] < 1


@pytest.mark.nightly
@pytest.mark.slow
def test_it_beats_what_knows_only_how_frequent_each_character_is(main: Main, runs: Path) -> None:
    half = ["experiment=text", "trainer.max_epochs=2"]
    assert main(*half, "callbacks=none", "logger=none") == 0
    data = text(length=64, chars_per_file=1280, batch_size=32)
    counts = torch.bincount(data.splits["train"].labels.flatten(), minlength=NUM_SYMBOLS) + 1
    unigram = -(counts / counts.sum()).log()[data.splits["val"].labels].mean()
    best = result(runs, 0)["best"]
    assert isinstance(best, float)
    assert best < float(unigram) - 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_symbols": 10}, "data.num_symbols is 97, not 10"),
        ({"length": 0}, "data.length=0 should lie between 1 and 29"),
        ({"length": 30}, "data.length=30 should lie between"),
        ({"folder": "/nowhere"}, "no Python source in /nowhere"),
        ({"length": 5000, "chars_per_file": 9000}, "no file for train"),
        ({"fractions": [0.9, 0.1, 0]}, "are not three shares of 1"),
        ({"fractions": [0.98, 0.01, 0.01]}, "leave nothing for val"),
        ({"batch_size": 0}, "data.batch_size 0 is below 1"),
    ],
)
def test_a_slip_is_told(library: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        text(**{"library": library, **arguments})


def test_a_slip_gets_one_message_and_exit_code_2(
    main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*FAST, "experiment=text", "data.length=0") == 2
    printed = capsys.readouterr().err
    assert printed.count("error: ") == 1
    assert "data.length=0 should lie between 1 and 1279" in printed
    assert "Traceback" not in printed


def test_the_experiment_brings_its_space(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("-m", "experiment=text", "search.dry_run=true", "search.num_trials=2") == 0
    printed = capsys.readouterr()
    assert "warning" not in printed.err
    command = next(line for line in printed.out.splitlines() if "train.py" in line)
    for name in (
        "optimizer.lr",
        "one_minus.optimizer.beta1",
        "one_minus.optimizer.beta2",
        "model.width",
        "model.depth",
        "data.batch_size",
        "scheduler.rate",
    ):
        assert f" {name}=" in command
