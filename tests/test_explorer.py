"""The page's own pictures and its table, in a browser: they answer to one another."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from browser import Opened
from caviar.base.errors import UserError
from caviar.base.result import COMPLETE, DIVERGED, EXCEPTION, PRUNED, Result
from caviar.ledger import Planned
from caviar.pages import write_report
from caviar.pages.compare import write_comparison
from caviar.search.settings import CONFIRM, TEST
from caviar.search.study import Study
from caviar.space import Axis, Log, Space
from conftest import ROOT
from made_studies import BATCH, BETA, LR, made

pytestmark = pytest.mark.slow

SMALL = Space((LR, BETA, BATCH))
Show = Callable[..., Opened]
PAGES: list[Path] = []


@pytest.fixture(autouse=True)
def project(runs: Path, monkeypatch: pytest.MonkeyPatch, hydra_state: None) -> None:
    monkeypatch.chdir(ROOT)


def fate(number: int) -> str:
    return {3: DIVERGED, 5: PRUNED, 7: EXCEPTION}.get(number % 9, COMPLETE)


def confirmed(study: Study) -> None:
    """Two trainings of the default, and what the test set said of one."""
    spec = {"overrides": [], "settings": {}}
    for stage, count, metrics in (
        (CONFIRM, 2, {"val/loss": 0.4}),
        (TEST, 1, {"test/loss": 0.01, "test/acc": 0.9}),
    ):
        study.ledger.begin(stage, spec, study.mode)
        study.ledger.extend(stage, [Planned({}, 7, "default")] * count, Space(()))
        for number in range(count):
            study.ledger.claim(stage, number)
            best = 0.4 if stage == CONFIRM else 0.01
            study.ledger.finish(stage, number, Result(best=best, metrics=metrics, seconds=1))


def record(study: Study, number: int, lines: str) -> None:
    folder = study.folder / "01_coarse" / str(number)
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(lines)


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page to read; written by the first test that opens it."""
    if not PAGES:
        study = made(
            tmp_path_factory.mktemp("explorer") / "s",
            SMALL,
            {"01_coarse": 30, "02_fine": 12},
            fate=fate,
        )
        confirmed(study)
        record(study, 0, "epoch,step,train/loss,val/acc\n0,5,0.9,\n0,9,0.8,0.5\n1,19,0.7,0.6\n")
        record(study, 1, "epoch,step,train/loss\n0,9,0.5\n1,19,1e12\n")
        PAGES.append(write_report(study, pictures=False)[0])
    return PAGES[0]


@pytest.fixture
def opened(show: Show, path: Path) -> Opened:
    return show(path)


def drag(opened: Opened, start: tuple[float, float], end: tuple[float, float]) -> None:
    mouse = opened.page.mouse
    mouse.move(*start)
    mouse.down()
    mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    mouse.move(*end)
    mouse.up()
    opened.settled()


def box(opened: Opened, view: str) -> dict[str, float]:
    place = opened.see(view).locator(".frame")
    place.scroll_into_view_if_needed()
    found: dict[str, float] = place.bounding_box()
    return found


def kept(opened: Opened) -> int:
    """Trials that the filters leave."""
    opened.settled()
    opened.see("table")
    return int(opened.page.locator("#found").inner_text().split()[0])


DARK_PIXELS = """place => {
  const canvas = place.querySelector('canvas');
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  let sum = 0;
  for (let i = 3; i < data.length; i += 4) sum += data[i] > 90;
  return sum;
}"""


def test_a_brush_and_a_range_are_one_filter_of_table_and_pictures(opened: Opened) -> None:
    page = opened.page
    opened.drawn()
    assert kept(opened) == 45
    pictures = ("parallel", "plane", "curves", "progress", "workers")
    before = {}
    for name in pictures:
        before[name] = opened.see(name).evaluate(DARK_PIXELS)
    # Of four axes lr is the first; the upper half of it is what is above 0.01.
    at = box(opened, "parallel")
    x, top, bottom = at["x"] + 40, at["y"] + 44, at["y"] + at["height"] - 18
    drag(opened, (x, top - 5), (x, (top + bottom) / 2))
    lrs = [float(v) for v in opened.column("lr")]
    assert 0 < len(lrs) < 45
    assert min(lrs) >= 0.0099
    low = page.get_by_label("lr: from")
    assert float(low.input_value()) == pytest.approx(0.01, rel=0.05)
    assert page.get_by_label("lr: to").input_value() == ""  # past the end there is no bound
    for name in pictures:  # all of them draw less
        assert opened.see(name).evaluate(DARK_PIXELS) < before[name], name
    # Vega's are told which, as soon as the brush rests.
    page.wait_for_selector(f'html[data-dimmed="{len(lrs)}"]', state="attached")
    # The range moves the brush; both together are let go by a click on the axis.
    brush = page.locator("[data-view=parallel] .brush")
    tall = float(brush.get_attribute("height"))
    low.fill("0.1")
    opened.settled()
    assert min(float(v) for v in opened.column("lr")) >= 0.1
    opened.see("parallel")
    assert float(brush.get_attribute("height")) < tall
    at = box(opened, "parallel")
    page.mouse.click(at["x"] + 40, at["y"] + 100)
    assert kept(opened) == 45
    assert low.input_value() == ""
    # A box of the map is two ranges.
    at = box(opened, "plane")
    middle = at["y"] + at["height"] / 2
    drag(opened, (at["x"] + 300, middle), (at["x"] + at["width"] - 5, at["y"] + 5))
    assert 0 < kept(opened) < 45
    assert float(page.get_by_label("momentum: from").input_value()) > 0.9
    page.get_by_role("button", name="Keep all").click()
    assert kept(opened) == 45
    opened.fine()


def test_the_table(opened: Opened, tmp_path: Path) -> None:
    page = opened.page
    # Best first, and no test among the values.
    values = opened.column("val/loss")
    numbers = [float(v) for v in values if v]
    assert numbers == sorted(numbers)
    assert values[-1] == ""
    best = opened.rows()[0]
    assert page.locator("#table tr.best td").first.inner_text() == best
    names = opened.rows()
    assert values[names.index("test/0")] == ""
    assert opened.column("test/loss")[names.index("test/0")] == "0.01"
    assert {v for v in opened.column("test/acc") if v} == {"0.9"}
    # The default's own values are those of the config.
    default = names.index("confirm/0")
    assert float(opened.column("lr")[default]) > 0
    assert opened.column("batch_size")[default]
    # The other way round, what has no value is last again.
    page.get_by_role("button", name="val/loss ▲").click()
    assert [float(v) for v in opened.column("val/loss") if v] == numbers[::-1]
    assert opened.column("val/loss")[-1] == ""
    page.get_by_role("button", name="lr", exact=True).click()
    lrs = [float(v) for v in opened.column("lr") if v]
    assert lrs == sorted(lrs)
    # A range, a choice, a slip.
    page.get_by_label("val/loss: to").fill("0.3")
    assert max(float(v) for v in opened.column("val/loss")) <= 0.3
    page.get_by_label("batch_size: keep").select_option(label="32")
    assert set(opened.column("batch_size")) == {"32"}
    page.get_by_label("val/loss: to").fill("0.3x")
    assert page.get_by_label("val/loss: to").get_attribute("aria-invalid") == "true"
    page.get_by_role("button", name="Keep all").click()
    # Columns that one chooses, and all of that as CSV.
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("seed", exact=True).check()
    page.get_by_label("note", exact=True).uncheck()
    page.locator("#filter-status").select_option(DIVERGED)
    assert set(opened.column("status")) == {DIVERGED}
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    download.value.save_as(tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open(newline="") as lines:
        saved = list(csv.DictReader(lines))
    assert [row["trial"] for row in saved] == opened.rows()
    assert {"optimizer.lr", "optimizer.momentum", "seed"} <= {*saved[0]}
    assert "note" not in saved[0]
    page.locator("#filter-status").select_option("")
    # A row opens to its command and its folder.
    page.locator("#filter-text").fill("01_coarse/0 complete")
    assert opened.rows() == ["01_coarse/0"]
    page.locator("#table tr.trial").first.click()
    command = page.locator("#table tr.details code").inner_text()
    assert command.startswith("python train.py optimizer.lr=")
    assert page.locator("#table tr.details a").get_attribute("href") == "01_coarse/0/"
    page.locator("#table tr.trial").first.press("Enter")
    assert page.locator("#table tr.details").count() == 0
    opened.fine()


# Positions that have something drawn at most 20 pixels above or below, from all over the picture.
NEAR = """place => {
  const canvas = place.querySelector('canvas');
  const sharp = canvas.width / canvas.getBoundingClientRect().width;
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  const [right, bottom] = [width / sharp, height / sharp - 44];
  const at = (v) => Math.round(v * sharp);
  const inked = (x, y) => y > 12 && y < bottom && data[4 * (at(y) * width + at(x)) + 3] > 0;
  const found = [];
  for (let x = 70; x < right - 20; x += 23) {
    for (let y = 14; y < bottom; y += 11) {
      let close = false;
      for (let dy = -20; dy <= 20 && !close; dy++) close = inked(x, y + dy);
      if (close) found.push([x, y]);
    }
  }
  return found;
}"""


def test_the_nearest_curve_answers(opened: Opened) -> None:
    page = opened.page
    at = box(opened, "curves")
    spots = opened.see("curves").evaluate(NEAR)
    assert len(spots) > 100
    answered = 0
    for x, y in spots[:: max(1, len(spots) // 80)]:
        page.mouse.move(at["x"] + x, at["y"] + y)
        answered += "val/loss there" in opened.tip()
    assert answered >= 0.9 * len(spots[:: max(1, len(spots) // 80)])
    page.mouse.move(at["x"] + spots[0][0], at["y"] + spots[0][1])
    told = opened.tip()
    assert "epoch" in told
    assert "momentum" in told
    assert "batch_size" in told
    # What else was recorded, and the best few of it.
    page.get_by_label("Metric").select_option("train/loss")
    opened.settled()
    told = opened.see("curves").inner_text()
    assert "2 curves of 2 with train/loss; 1 cut at the triangles" in told
    assert "they reach 1e+12" in told
    page.get_by_label("Metric").select_option("val/loss")
    page.get_by_label("Best", exact=True).select_option("10")
    opened.settled()
    assert "10 curves of " in opened.see("curves").inner_text()
    opened.fine()


def test_the_map_tells_an_axis_by_its_name_and_value(opened: Opened) -> None:
    at = box(opened, "plane")
    page = opened.page
    page.get_by_label("Up", exact=True).select_option("momentum")
    for x in range(70, int(at["width"]), 12):
        for y in range(14, int(at["height"]) - 46, 24):
            page.mouse.move(at["x"] + x, at["y"] + y)
            if told := opened.tip():
                break
        else:
            continue
        break
    lines = told.splitlines()
    assert 0.9 <= float(lines[lines.index("momentum") + 1]) <= 0.999
    # So does Vega's map of what two axes do together.
    chart = page.locator("[data-name=interaction]")
    chart.scroll_into_view_if_needed()
    page.wait_for_selector("[data-name=interaction][data-drawn]")
    page.mouse.move(5, 5)
    at = chart.locator("canvas").bounding_box()
    for x in range(100, int(at["width"]) - 20, 15):  # on a cell, not on a trial
        page.mouse.move(at["x"] + x, at["y"] + at["height"] / 2)
        told = opened.tip()
        if "expected val/loss" in told:
            break
    axes = {"optimizer.lr", "optimizer.momentum", "data.batch_size"}
    assert len(axes & {*told.splitlines()}) == 2
    assert "x2" not in told
    opened.fine()


PAPER = "() => { dispatchEvent(new Event('beforeprint')) }"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_it_is_whole_and_light(show: Show, path: Path, scheme: str) -> None:
    opened = show(path, scheme=scheme)
    opened.page.emulate_media(media="print", color_scheme=scheme)
    opened.page.set_viewport_size({"width": 700, "height": 1000})
    opened.page.evaluate(PAPER)  # which is drawn at once: nobody scrolls to it
    white = "getComputedStyle(document.body).backgroundColor"
    assert opened.page.evaluate(white) == "rgb(255, 255, 255)"
    drawn = opened.page.locator(".view canvas, .view table").count()
    assert drawn == opened.page.locator(".view").count()
    opened.page.wait_for_function(
        "[...document.querySelectorAll('.chart')].every((chart) => chart.dataset.drawn)",
        timeout=60_000,
    )
    if scheme == "dark":  # each picture has a light double
        opened.page.wait_for_function(
            "[...document.querySelectorAll('.chart')].every((chart) => chart.dataset.paper)",
            timeout=60_000,
        )
        assert opened.page.locator(".chart >> visible=true").count() == 0
        assert opened.page.locator(".paper canvas >> visible=true").count() > 0
    wide = """[...document.querySelectorAll('figure, canvas, table')]
      .filter((e) => e.getBoundingClientRect().right > innerWidth + 1).length"""
    assert opened.page.evaluate(wide) == 0
    opened.fine()


def test_two_studies_on_one_page(show: Show, runs: Path) -> None:
    """Their trials in the same pictures, told apart; their settings side by side."""
    wide = Space((Axis(LR.key, Log(1e-5, 10.0)), BATCH))
    one, other = (
        made(runs / "a", SMALL, {"01_coarse": 14}),
        made(runs / "b", wide, {"01_coarse": 9}),
    )
    path = write_comparison([one, other])
    assert path == runs / "a+b.html"
    opened = show(path)
    opened.drawn()
    opened.fine()
    settings = opened.page.locator("#settings").inner_text()
    assert "log 0.0001 … 1" in settings
    assert "log 1e-05 … 10" in settings
    assert "not searched" in settings
    assert sorted(opened.column("study")) == ["a"] * 14 + ["b"] * 9
    assert {"a", "b"} <= {*opened.see("parallel").inner_text().split()}
    opened.see("table")
    opened.page.locator("#filter-study").select_option("b")
    assert {*opened.column("study")} == {"b"}
    # Where b has no momentum, its line has a gap and its cell is empty.
    assert {*opened.column("momentum")} == {""}
    opened.fine()
    # Of other metrics they would not compare.
    with pytest.raises(UserError, match="val/acc"):
        write_comparison([one, made(runs / "c", SMALL, mode="max")])


def test_the_best_until_then_over_time_and_who_worked(opened: Opened) -> None:
    page = opened.page
    assert "trials that have ended" in opened.see("progress").inner_text()
    page.get_by_label("Over").select_option("time")
    told = opened.see("progress").inner_text()
    assert "time of work, s" in told
    assert "a pause is cut" in told  # a day lies between the stages
    # Two ran at a time; where a bar is, it tells which.
    at = box(opened, "workers")
    names = set()
    for x in range(120, int(at["width"]) - 20, 8):
        page.mouse.move(at["x"] + x, at["y"] + 15)
        if told := opened.tip():
            names.add(told.splitlines()[0])
    assert len(names) > 10
    assert {int(name.partition("/")[2]) % 2 for name in names if "coarse" in name} == {0}
    opened.fine()
