"""The report in a real browser: opened from its file, nothing fetched, everything drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from caviar.base.result import COMPLETE, DIVERGED, EXCEPTION, PRUNED
from caviar.pages import write_report
from caviar.pages.panda import write_panda_report
from caviar.panda.journal import DAY, FINISH, SET, START, Journal, event
from caviar.panda.record import append_row
from caviar.search.settings import VERDICT
from caviar.search.study import Study
from caviar.search.verdict import Setting, Verdict, write_verdict
from caviar.space import Axis, Choice, Log, OneMinusLog, Space
from conftest import ROOT
from made_studies import ALL, BATCH, BETA, LR, made

pytestmark = pytest.mark.slow

SECTIONS = [
    *("verdict", "explore", "axes", "importance", "curves", "budget", "time", "confirm", "trials"),
]
PHONE = {"width": 390, "height": 844}


@pytest.fixture(autouse=True)
def project(runs: Path, monkeypatch: pytest.MonkeyPatch, hydra_state: None) -> None:
    monkeypatch.chdir(ROOT)


def every_kind(number: int) -> str:
    return {3: DIVERGED, 5: PRUNED, 7: EXCEPTION}.get(number % 9, COMPLETE)


UNORDERED = Space((Axis("model.act", Choice(("relu", "tanh", None))), BATCH))
SMALL = Space((LR, BETA, BATCH))  # fewer pictures to draw
SHAPES: dict[str, dict[str, Any]] = {
    "usual": {"space": ALL, "stages": {"01_coarse": 30, "02_fine": 14}, "fate": every_kind},
    "nothing has finished": {"fate": lambda n: "waiting"},
    "one trial": {"stages": {"01_coarse": 1}},
    "all diverged": {"fate": lambda n: DIVERGED},
    "all failed": {"fate": lambda n: EXCEPTION},
    "lr alone": {"space": Space((LR,))},
    "choices": {"space": UNORDERED},
    "a maximum": {"space": Space((LR, BETA)), "mode": "max"},
    "one epoch": {"epochs": 1},
    "still running": {"fate": lambda n: COMPLETE if n < 6 else "waiting"},
}


# A PNG is drawn from the same description as the page's picture, by the same library.
DRAWN = ("usual", "nothing has finished")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_study_of_every_shape_gives_a_page_that_makes_sense(
    show: Any, runs: Path, shape: str
) -> None:
    study = made(runs / "s", **{"space": SMALL, **SHAPES[shape]})
    page, *pictures = write_report(study, pictures=shape in DRAWN)
    opened = show(page)
    charts = opened.drawn()
    if shape in DRAWN:
        curves = opened.page.locator("[data-view=curves]").count()  # the page's own
        assert charts + curves == len(pictures) == len({*pictures})
        assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    opened.fine()
    ids = [s.get_attribute("id") for s in opened.page.locator("section").all()]
    assert ids == SECTIONS
    for section in opened.page.locator("section").all():
        assert section.locator("p, canvas, table").count()
    trials = sum(len(study.ledger.trials(s)) for s in study.ledger.stages())
    assert len(opened.rows()) == trials
    words = opened.page.locator("#verdict").inner_text()
    none = shape in ("nothing has finished", "all diverged", "all failed")
    assert ("No trial has come to a value" in words) == none
    assert ("nan" in words.lower()) is False


FROZEN = Space((LR, Axis(BETA.key, Choice((0.02,), complement=True)), BATCH))
GROWN = Space((Axis(LR.key, Log(1e-6, 10.0)), Axis(BETA.key, OneMinusLog(0.01, 1.0)), BATCH))


def test_later_stages_that_were_frozen_or_have_grown(show: Any, runs: Path) -> None:
    study = made(runs / "s", Space((LR, BETA, BATCH)))
    made(runs / "s", GROWN, {"02_fine": 8})
    made(runs / "s", FROZEN, {"03_finest": 6})
    opened = show(write_report(study, pictures=False)[0])
    opened.drawn()
    opened.fine()
    ranges = opened.page.locator("#axes table").inner_text()
    assert "fixed at 0.98" in ranges
    assert "one_minus_log 0 … 0.99" in ranges


def test_five_thousand_trials(show: Any, runs: Path) -> None:
    study = made(runs / "s", SMALL, stages={"01_coarse": 5000}, fate=every_kind, epochs=5)
    opened = show(write_report(study, pictures=False)[0])
    opened.drawn()
    opened.fine()
    assert opened.page.locator("#found").inner_text() == "5,000 trials, the first 200 shown"
    assert len(opened.rows()) == 200
    opened.page.locator("#more").click()
    assert len(opened.rows()) == 1200
    assert "epochs are drawn" in opened.page.locator("#curves").inner_text()


def test_phone_and_dark(show: Any, runs: Path) -> None:
    study = made(runs / "s", SMALL, stages={"01_coarse": 30}, fate=every_kind)
    page = write_report(study, pictures=False)[0]
    for scheme in ("light", "dark"):
        opened = show(page, scheme=scheme, **PHONE)
        opened.drawn()
        opened.fine()
    ground = "getComputedStyle(document.body).backgroundColor"
    assert opened.page.evaluate(ground) == "rgb(20, 23, 26)"
    # Pictures follow when the scheme changes while the page is open.
    opened.page.emulate_media(color_scheme="light")
    assert opened.page.evaluate(ground) == "rgb(255, 255, 255)"
    opened.drawn()
    opened.fine()


EVIL = "</script><img src=x onerror=alert(1)>{{ 7 * 7 }} ${1} <b>&amp;"


def test_other_peoples_text_is_text(show: Any, runs: Path) -> None:
    """Names, choices, reasons and errors from configs, files and runs."""
    space = Space((LR, Axis("model.act", Choice(("relu", EVIL, "'\"\\\n")))))
    study = made(
        runs / "s",
        space,
        fate=lambda n: EXCEPTION if n == 2 else COMPLETE,
        reasons={"optimizer.lr": [EVIL]},
        error=EVIL,
    )
    opened = show(write_report(study, pictures=False)[0])
    opened.drawn()
    opened.fine()
    page = opened.page
    assert page.locator("img").count() == 0
    assert EVIL in page.locator("#axes").inner_text()
    page.locator("#filter-text").fill("onerror")
    assert len(opened.rows()) >= 1
    page.locator("#filter-status").select_option(EXCEPTION)
    page.locator("#table tr.trial").first.click()
    assert EVIL in page.locator("#table tr.details").inner_text()


def test_the_reasons_of_a_stage_and_its_alarms_are_shown(show: Any, runs: Path) -> None:
    alarm = "boundary alarm at the low wall: grown past 0.9"
    reasons = {BETA.name: ["was one_minus_log 0.9 … 0.999", alarm]}
    study = made(runs / "s", SMALL, {"01_coarse": 12, "02_fine": 6}, reasons=reasons)
    opened = show(write_report(study, pictures=False)[0])
    words = opened.page.locator("#axes").inner_text()
    assert "Boundary alarm: optimizer.momentum in 02_fine: at the low wall" in words
    assert "was one_minus_log 0.9 … 0.999" in words


def verdict_of(study: Study) -> Verdict:
    trial = study.ledger.trials("01_coarse")[0]
    default = Setting("default", {}, [0.30, 0.32, 0.31], [0, 1, 2], test={"test/loss": [0.3, 0.31]})
    winner = Setting(
        "01_coarse/0", dict(trial.point), [0.2, 0.22], [3, 4], "01_coarse/0", {"test/loss": [0.21]}
    )
    return Verdict("val/loss", "min", 0.01, default, winner, [], 17)


def test_a_confirmed_study_says_what_won(show: Any, runs: Path) -> None:
    study = made(runs / "s", SMALL, {"01_coarse": 12, "02_fine": 8})
    write_verdict(verdict_of(study), study.folder / VERDICT)
    opened = show(write_report(study, pictures=False)[0])
    opened.drawn()
    opened.fine()
    sentences = opened.page.locator("#verdict p").all_inner_texts()
    assert len(sentences) == 3
    assert sentences[0].startswith("Not shown to be better than the default; keep it: 01_coarse/0")
    assert "On the test set its test/loss is 0.21" in sentences[0]
    assert sentences[1].startswith("01_coarse/0 is lr=")
    assert "worth it" in sentences[2]
    confirmed = opened.page.locator("#confirm").inner_text()
    assert (
        "The test set was opened once. test/loss: 0.305 ± 0.005 of default, 0.21 of 01_coarse/0."
        in confirmed
    )


def panda(folder: Path) -> None:
    """A model over three days, nudged once."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("metric: {name: val/loss, mode: min}\n")
    journal = Journal(folder)
    journal.write(event(START, 0, 0, 0))
    for day, value in enumerate((0.9, 0.5, 0.4), start=1):
        journal.write(event(DAY, 0, day, 10 * day, facts={"metric": "val/loss", "value": value}))
        append_row(folder, {"branch": 0, "step": 10 * day, "val/loss": value})
        if day == 1:
            changes = {"optimizer.lr": [0.01, 0.02]}
            journal.write(event(SET, 0, 1, 10, changes=changes, why=EVIL))
    journal.write(event(FINISH, 0, 3, 30))


def test_one_model_that_is_looked_after(show: Any, runs: Path) -> None:
    panda(runs / "p")
    page, picture = write_panda_report(runs / "p")
    assert picture.read_bytes().startswith(b"\x89PNG")
    opened = show(page)
    assert opened.drawn() == 1
    opened.fine()
    assert "1 nudge" in opened.page.locator("#verdict").inner_text()
    journal = opened.page.locator("#journal").inner_text()
    assert "optimizer.lr 0.01 → 0.02" in journal
    assert EVIL in journal
