// Parallel coordinates: a line for each trial across all axes, each on its own scale.
const BEST = 60; // that stand out of a large study
const parallelView = (place) => {
  const axes = [...axisColumns, metricColumn];
  let colouring = colourings.find((c) => c.name === firstColouring);
  let lines = []; // {row, ys} as drawn
  const legend = element("span");
  place.append(
    element(
      "div",
      { className: "controls" },
      colourChooser(colouring, (chosen) => {
        colouring = chosen;
        draw();
      }),
      legend,
    ),
  );
  const scroller = element("div", { className: "scroll" });
  place.append(scroller);
  const frame = new Frame(scroller, 380, { left: 40, right: 60, top: 44, bottom: 18 });
  const xOf = (i) => frame.x(axes.length > 1 ? i / (axes.length - 1) : 0.5);

  const yOf = (row, column) => {
    if (column === metricColumn && row.value === null) return frame.y(worst);
    const u = column.scale().place(column.get(row), row.number);
    return frame.y(column === metricColumn ? Math.min(1, Math.max(0, u)) : u);
  };
  const trace = (context, ys) => {
    let pen = false; // a value that its scale cannot place leaves a gap
    ys.forEach((y, i) => {
      if (Number.isFinite(y)) pen ? context.lineTo(xOf(i), y) : context.moveTo(xOf(i), y);
      pen = Number.isFinite(y);
    });
  };
  const draw = () => {
    const context = frame.begin(axes.length * (printing ? 60 : 84));
    const drawnRows = searched.filter((row) => row.value !== null || row.lost);
    lines = drawnRows.map((row) => ({ row, ys: axes.map((column) => yOf(row, column)) }));
    const kept = lines.filter(({ row }) => row.kept).sort((a, b) => byValue(b.row, a.row));
    context.lineWidth = 1;
    if (kept.length < lines.length) {
      context.globalAlpha = 1;
      context.drawImage(shadow(), 0, 0, frame.width, frame.height);
    }
    const faint = Math.min(0.8, 5 / Math.sqrt(kept.length));
    kept.forEach(({ row, ys }, i) => {
      context.globalAlpha =
        kept.length - i <= BEST && row.value !== null ? Math.max(faint, 0.5) : faint;
      context.strokeStyle = colouring.of(row);
      context.beginPath();
      trace(context, ys);
      context.stroke();
    });
    context.globalAlpha = 1;
    for (const { row, ys } of kept.filter((line) => line.row.best)) {
      context.lineWidth = 2.8;
      context.strokeStyle = several ? category(row.stage.study) : css("ink");
      context.beginPath();
      trace(context, ys);
      context.stroke();
    }
    axes.forEach(drawAxis);
    legend.replaceChildren(legendOf(colouring));
    mark(pointed);
  };
  // All lines, faint: drawn once, as a brush that moves through thousands cannot wait for them.
  let faded = { of: "" };
  const shadow = () => {
    const of = [frame.width, frame.sharp, isDark()].join();
    if (faded.of === of) return faded.canvas;
    const canvas = element("canvas", { width: frame.canvas.width, height: frame.canvas.height });
    const context = canvas.getContext("2d");
    context.scale(frame.sharp, frame.sharp);
    context.globalAlpha = lines.length > 1000 ? 0.05 : 0.14;
    context.strokeStyle = css("faint");
    for (const { ys } of lines) {
      context.beginPath();
      trace(context, ys);
      context.stroke();
    }
    faded = { of, canvas };
    return canvas;
  };
  const drawAxis = (column, i) => {
    const x = xOf(i);
    const { top, bottom } = frame.inner;
    frame.rule(x, top, x, bottom, "axis");
    frame.axes.append(
      drawing("rect", {
        x: x - 16,
        width: 32,
        y: top - 8,
        height: bottom - top + 16,
        className: "grip",
      }),
    );
    const step = axes.length > 1 ? xOf(1) - xOf(0) : 200;
    const anchor = i === 0 ? "start" : i === axes.length - 1 ? "end" : "middle";
    const side = i === 0 ? x - 32 : i === axes.length - 1 ? x + 54 : x;
    const title = frame.words(clipped(column.title, Math.floor(step / 7.2)), side, 16, {
      "text-anchor": anchor,
      className: "title",
    });
    title.append(drawing("title", { text: column.key }));
    if (column.axis?.kind === "one_minus_log")
      frame.words("log in 1-β", side, 31, { "text-anchor": anchor });
    for (const { place: u, text } of column.scale().ticks(7)) {
      const y = frame.y(u);
      if (y < top - 2 || y > bottom + 2) continue;
      frame.rule(x - 3, y, x + 3, y, "axis");
      frame.words(clipped(text, 9), x + 7, y + 4, { className: "halo" });
    }
    const brush = brushOf(column);
    if (brush) {
      const [y1, y2] = brush.map((u) => frame.y(u));
      frame.axes.append(
        drawing("rect", {
          x: x - 9,
          width: 18,
          y: Math.min(y1, y2),
          height: Math.max(3, Math.abs(y2 - y1)),
          className: "brush",
        }),
      );
    }
  };
  // A limit as a part of the axis, wherever it was set.
  const brushOf = (column) => {
    const bounds = filters.limits.get(column);
    if (!bounds) return null;
    const scale = column.scale();
    const inside = (u) => Math.min(1.02, Math.max(-0.02, u));
    if (bounds.chosen) {
      const half = 0.45 / scale.choices.length;
      const us = [...bounds.chosen].map((v) => scale.place(v));
      return us.length ? [Math.min(...us) - half, Math.max(...us) + half] : null;
    }
    const ends = [scale.place(bounds.low), scale.place(bounds.high)];
    return [
      Number.isFinite(ends[0]) ? inside(ends[0]) : -0.02,
      Number.isFinite(ends[1]) ? inside(ends[1]) : 1.02,
    ];
  };
  const mark = (row) => {
    frame.over.replaceChildren();
    const line = row && lines.find((l) => l.row === row);
    if (!line) return;
    const points = line.ys.flatMap((y, i) => (Number.isFinite(y) ? [`${xOf(i)},${y}`] : []));
    frame.over.append(drawing("polyline", { points: points.join(" "), className: "pointed" }));
  };

  // Drag along an axis; elsewhere the pointer finds the nearest line.
  let drag = null;
  const axisAt = (x) => axes.findIndex((_, i) => Math.abs(x - xOf(i)) <= 16);
  const unit = (y) =>
    Math.min(
      1.01,
      Math.max(-0.01, (frame.inner.bottom - y) / (frame.inner.bottom - frame.inner.top)),
    );
  frame.box.addEventListener("pointerdown", (event) => {
    const [x, y] = frame.at(event);
    const i = axisAt(x);
    if (i < 0) return;
    event.preventDefault();
    document.activeElement?.blur(); // an input of the table follows once more
    frame.box.setPointerCapture(event.pointerId);
    drag = { column: axes[i], from: unit(y), y, moved: false };
  });
  frame.box.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [, y] = frame.at(event);
    drag.moved ||= Math.abs(y - drag.y) > 3;
    if (drag.moved) limit(drag.column, limitBetween(drag.column.scale(), drag.from, unit(y)));
  });
  frame.box.addEventListener("pointerup", () => {
    if (drag && !drag.moved) limit(drag.column, null);
    drag = null;
  });
  frame.box.addEventListener("pointercancel", () => {
    drag = null;
  });
  frame.onPointer(
    (x, y, event) => {
      if (drag) return hideTip();
      const near = nearestLine(x, y);
      pointAt(near?.row ?? null);
      return near ? showRow(event, near.row) : hideTip();
    },
    () => {
      pointAt(null);
      hideTip();
    },
  );
  const nearestLine = (x, y) => {
    const step = axes.length > 1 ? xOf(1) - xOf(0) : 1;
    const i = Math.min(axes.length - 2, Math.max(0, Math.floor((x - xOf(0)) / step)));
    const share = Math.min(1, Math.max(0, (x - xOf(i)) / step));
    let [best, found] = [20, null];
    for (const line of lines) {
      if (!line.row.kept) continue;
      const distance = Math.abs(
        line.ys[i] + share * ((line.ys[i + 1] ?? line.ys[i]) - line.ys[i]) - y,
      );
      if (distance < best) [best, found] = [distance, line];
    }
    return found;
  };
  return { draw, mark };
};
