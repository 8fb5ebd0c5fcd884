// The best value until then, over trials or over time. Where losses do not compare, it begins anew.
const progressView = (place) => {
  const WAYS = ["trials", "time"];
  let way = WAYS[0];
  let spots = [];
  const colouring = () => colourings.find((c) => c.name === (several ? "study" : "stage"));
  const legend = element("span");
  const note = element("p", { className: "faint" });
  place.append(
    element(
      "div",
      { className: "controls" },
      chooser("Over", WAYS, way, (value) => {
        way = value;
        draw();
      }),
      legend,
    ),
  );
  const frame = new Frame(place, 320);
  place.append(note);
  const endOf = (row) => (isNumber(row.started) ? row.started + (row.seconds ?? 0) : NaN);

  const draw = () => {
    const context = frame.begin();
    const ended = searched.filter((row) => row.value !== null || row.lost);
    const timed = ended.filter((row) => Number.isFinite(endOf(row)));
    const groups = studies.map((_, study) =>
      ended
        .filter((row) => row.stage.study === study)
        .sort((a, b) => endOf(a) - endOf(b) || a.order - b.order),
    );
    const clocks = groups.map((group) => clockOf(group.map((row) => [row.started, endOf(row)])));
    const longest = clocks.reduce((a, b) => (b.length > a.length ? b : a), clocks[0]);
    const ticks = clockScale(longest);
    const count = numberScale(
      { kind: "integer", low: 0, high: Math.max(1, ...groups.map((g) => g.length)) },
      [],
      0.01,
    );
    const overTime = way === "time" && timed.length > 0;
    const xOf = (row, i, study) =>
      overTime ? frame.x(ticks.placeOf(clocks[study].at(endOf(row)))) : frame.x(count.place(i + 1));
    const up = metricColumn.scale();
    const yOf = (row) =>
      frame.y(row.value === null ? worst : Math.min(1, Math.max(0, up.place(row.value))));
    frame.across(
      overTime ? ticks.scale : count,
      overTime
        ? `time of work, ${ticks.unit}`
        : `trials that have ended${explorer.sampled ? ", of those that the table lists" : ""}`,
    );
    frame.up(up, metric.name);
    if (overTime && !several) drawCuts(frame, longest, ticks);
    spots = groups
      .flatMap((group, study) =>
        group.map((row, i) => ({ row, x: xOf(row, i, study), y: yOf(row) })),
      )
      .filter(({ x }) => Number.isFinite(x));
    const size = spots.length > 1000 ? 1.6 : 3;
    for (const { row, x, y } of spots) {
      context.globalAlpha = row.kept ? 0.6 : 0.06;
      context.fillStyle = context.strokeStyle = colouring().of(row);
      if (row.value === null) cross(context, x, y, 2.5);
      else {
        context.beginPath();
        context.arc(x, y, size, 0, 2 * Math.PI);
        context.fill();
      }
    }
    context.globalAlpha = 1;
    studies.forEach((_, study) =>
      drawBest(
        context,
        spots.filter(({ row }) => row.stage.study === study),
        study,
      ),
    );
    legend.replaceChildren(legendOf(colouring()));
    note.textContent =
      way === "time" && !overTime
        ? "No trial has left its times: trials are counted."
        : overTime && longest.cuts.length && !several
          ? "At a dashed line a pause is cut, in which no trial ran."
          : "";
    mark(pointed);
  };
  const drawBest = (context, of, study) => {
    context.lineWidth = 2.2;
    context.strokeStyle = several ? category(study) : css("ink");
    context.beginPath();
    let [best, group, y] = [null, null, 0];
    for (const spot of of) {
      if (spot.row.stage.group !== group) [best, group] = [null, spot.row.stage.group];
      // The value of a pruned trial is that of fewer epochs.
      const better =
        spot.row.status === "complete" && (best === null || sign * (spot.row.value - best) < 0);
      if (best === null && better) context.moveTo(spot.x, spot.y);
      else if (best !== null) context.lineTo(spot.x, y);
      if (better) {
        if (best !== null) context.lineTo(spot.x, spot.y);
        [best, y] = [spot.row.value, spot.y];
      }
    }
    context.stroke();
  };
  const mark = (row) => {
    frame.over.replaceChildren();
    const spot = row && spots.find((s) => s.row === row);
    if (spot) frame.dot(spot.x, spot.y, 6);
  };
  frame.onPointer(
    (x, y, event) => {
      const found = nearestSpot(spots, x, y);
      pointAt(found?.row ?? null);
      return found ? showRow(event, found.row) : hideTip();
    },
    () => {
      pointAt(null);
      hideTip();
    },
  );
  return { draw, mark };
};
