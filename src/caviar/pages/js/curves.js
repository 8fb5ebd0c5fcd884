// Learning curves: of the best few or of all, of any metric that was recorded; the nearest answers.
const REACH = 32; // pixels to the nearest curve
const MARKS = 60; // triangles, at most
const curvesView = (place) => {
  const { metrics, unit } = explorer.curves;
  const names = [metric.name, ...Object.keys(metrics).filter((key) => key !== metric.name)];
  const COUNTS = ["10", "30", "100", "all"];
  let name = names[0];
  let count = searched.length > 300 ? "100" : "all";
  let shown = []; // {row, xs, ys, at, values} as drawn
  let colouring = colourings.find((c) => c.name === (several ? "study" : "stage"));
  const legend = element("span");
  const note = element("p", { className: "faint" });
  place.append(
    element(
      "div",
      { className: "controls" },
      chooser("Metric", names, name, (value) => {
        name = value;
        draw();
      }),
      chooser("Best", COUNTS, count, (value) => {
        count = value;
        draw();
      }),
      colourChooser(colouring, (chosen) => {
        colouring = chosen;
        draw();
      }),
      legend,
    ),
  );
  const frame = new Frame(place, 400);
  place.append(note);
  const fate = (row) => (row.status === "pruned" ? "pruned" : row.lost ? "lost" : "whole");

  const draw = () => {
    const context = frame.begin();
    const { row: owners, x, y, low, high, log } = metrics[name];
    const curves = owners.map((order, i) => ({
      row: rows[order],
      at: Array.isArray(x[i]) ? x[i] : Array.from({ length: x[i] }, (_, point) => point),
      values: y[i],
    }));
    const wanted = curves.filter(({ row }) => row.kept).sort((a, b) => byValue(a.row, b.row));
    if (count !== "all") wanted.length = Math.min(wanted.length, Number(count));
    const across = numberScale(
      { kind: "integer" },
      curves.flatMap((curve) => [curve.at[0], curve.at.at(-1)]),
      0.01,
    );
    const [least, most] = endsWithin(wanted, low, high);
    const up = numberScale({ kind: log ? "log" : "linear", low: least, high: most }, []);
    frame.across(across, unit);
    frame.up(up, name);
    shown = wanted.reverse().map((curve) => ({
      ...curve,
      xs: curve.at.map((v) => frame.x(across.place(v))),
      ys: curve.values.map((v) => frame.y(log && v <= 0 ? 0 : up.place(v))),
    }));
    drawLines(context);
    noteCut(least, most);
    legend.replaceChildren(legendOf(colouring));
    mark(pointed);
  };
  // What is shown fills the picture, up to where the worst are cut.
  const endsWithin = (curves, low, high) => {
    let [least, most] = [Infinity, -Infinity];
    for (const { values } of curves) {
      for (const value of values) {
        if (value < low || value > high) continue;
        least = Math.min(least, value);
        most = Math.max(most, value);
      }
    }
    return least <= most ? [least, most] : [low, high];
  };
  const drawLines = (context) => {
    const { left, top, right, bottom } = frame.inner;
    context.save();
    context.beginPath();
    context.rect(left, top, right - left, bottom - top);
    context.clip();
    for (const { row, xs, ys } of shown) {
      context.globalAlpha = row.best ? 1 : shown.length > 300 ? 0.5 : 0.8;
      context.lineWidth = row.best ? 2.8 : 1.1;
      context.strokeStyle = context.fillStyle = row.best ? css("ink") : colouring.of(row);
      context.setLineDash({ pruned: [6, 3], lost: [2, 2], whole: [] }[fate(row)]);
      context.beginPath();
      xs.forEach((x, i) => (i ? context.lineTo(x, ys[i]) : context.moveTo(x, ys[i])));
      context.stroke();
      context.setLineDash([]);
      if (xs.length === 1) {
        // a lone point is no line
        context.beginPath();
        context.arc(xs[0], ys[0], 2.5, 0, 2 * Math.PI);
        context.fill();
      }
    }
    context.restore();
    for (const { row, xs, ys } of shown) {
      if (fate(row) !== "lost") continue;
      context.strokeStyle = colouring.of(row);
      cross(context, xs.at(-1), Math.min(bottom, Math.max(top, ys.at(-1))));
    }
  };
  // A curve that leaves the picture is marked where it does, and said how far it goes.
  const noteCut = (low, high) => {
    const { top, bottom } = frame.inner;
    const side = (y) => (y < top - 1 ? -1 : y > bottom + 1 ? 1 : 0);
    const cut = shown.filter(({ ys }) => ys.some(side));
    let [least, most, marks] = [Infinity, -Infinity, 0];
    for (const { xs, ys, values } of cut) {
      ys.forEach((height, i) => {
        const beyond = side(height);
        if (!beyond) return;
        [least, most] = [Math.min(least, values[i]), Math.max(most, values[i])];
        if ((i && side(ys[i - 1]) === beyond) || ++marks > MARKS) return;
        const [y, end] = beyond < 0 ? [top + 6, top] : [bottom - 6, bottom];
        const d = `M${xs[i] - 4},${y}H${xs[i] + 4}L${xs[i]},${end}Z`;
        frame.axes.append(drawing("path", { d, className: "cut" }));
      });
    }
    const ends = [least < low && short(least, 3), most > high && short(most, 3)];
    const reached = ends.filter(Boolean).join(" and ");
    const shownRange = `${short(low, 3)} … ${short(high, 3)}`;
    const parts = [
      `${counted(shown.length, "curve")} of ${grouped(metrics[name].row.length)} with ${name}`,
    ];
    if (cut.length) {
      parts.push(
        `${grouped(cut.length)} cut at the triangles: beyond ${shownRange} they reach ${reached}`,
      );
    }
    note.textContent = `${parts.join("; ")}.`;
  };
  const nearest = (x, y) => {
    let [near, found] = [REACH, null];
    for (const curve of shown) {
      const { xs, ys } = curve;
      for (let i = 0; i < xs.length; i++) {
        const j = Math.min(i + 1, xs.length - 1);
        if ((xs[i] > x + near && xs[j] > x + near) || (xs[i] < x - near && xs[j] < x - near))
          continue;
        const [dx, dy] = [xs[j] - xs[i], ys[j] - ys[i]];
        const share = Math.min(
          1,
          Math.max(0, ((x - xs[i]) * dx + (y - ys[i]) * dy) / (dx * dx + dy * dy || 1)),
        );
        const distance = Math.hypot(xs[i] + share * dx - x, ys[i] + share * dy - y);
        if (distance < near) [near, found] = [distance, { curve, point: share > 0.5 ? j : i }];
      }
    }
    return found;
  };
  const mark = (row, point) => {
    frame.over.replaceChildren();
    const curve = row && shown.find((s) => s.row === row);
    if (!curve) return;
    const inside = (y) => Math.min(frame.inner.bottom, Math.max(frame.inner.top, y));
    const points = curve.xs.map((x, i) => `${x},${inside(curve.ys[i])}`).join(" ");
    frame.over.append(drawing("polyline", { points, className: "pointed" }));
    if (point !== undefined) frame.dot(curve.xs[point], inside(curve.ys[point]));
  };
  frame.onPointer(
    (x, y, event) => {
      const found = nearest(x, y);
      if (!found) {
        pointAt(null);
        return hideTip();
      }
      const {
        curve: { row, at, values },
        point,
      } = found;
      pointAt(row);
      mark(row, point);
      return showRow(event, row, [
        [unit, String(at[point])],
        [`${name} there`, short(values[point])],
      ]);
    },
    () => {
      pointAt(null);
      hideTip();
    },
  );
  return { draw, mark };
};
