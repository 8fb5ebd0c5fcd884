// The time that a study worked, without that in which it lay: long pauses are cut.
const PAUSE = 0.2; // of the time that was worked: a longer pause is cut,
const GAP = 0.04; // to this
const clockOf = (spans) => {
  const sorted = spans
    .filter(([from, to]) => isNumber(from) && to >= from)
    .sort((a, b) => a[0] - b[0]);
  const busy = [];
  for (const [from, to] of sorted) {
    if (busy.length && from <= busy.at(-1)[1]) busy.at(-1)[1] = Math.max(busy.at(-1)[1], to);
    else busy.push([from, to]);
  }
  const worked = busy.reduce((sum, [from, to]) => sum + to - from, 0) || 1;
  const cuts = []; // {at: when it begins, on the cut clock; skipped: seconds}
  const pieces = []; // [from, to, where it begins on the cut clock]
  let place = 0;
  busy.forEach(([from, to], i) => {
    if (i) {
      const pause = from - busy[i - 1][1];
      const kept = pause > PAUSE * worked ? GAP * worked : pause;
      if (pause > kept) cuts.push({ at: place + kept / 2, skipped: pause });
      place += kept;
    }
    pieces.push([from, to, place]);
    place += to - from;
  });
  const at = (time) => {
    const piece = pieces.findLast(([from]) => from <= time) ?? pieces[0];
    return piece ? piece[2] + Math.min(time, piece[1]) - piece[0] : 0;
  };
  return { at, cuts, length: place || 1, first: busy[0]?.[0] };
};
const SIZES = [
  ["s", 1],
  ["min", 60],
  ["h", 3600],
  ["d", 86400],
];
// Of that clock, in the unit that its length is told in.
const clockScale = (clock) => {
  const [unit, size] = SIZES.findLast(([, s]) => clock.length >= 2 * s) ?? SIZES[0];
  const inner = numberScale({ kind: "linear", low: 0, high: clock.length / size }, [], 0.005);
  return {
    unit,
    scale: inner,
    place: (time) => inner.place(clock.at(time) / size),
    placeOf: (seconds) => inner.place(seconds / size),
  };
};
const drawCuts = (frame, clock, ticks) => {
  for (const { at, skipped } of clock.cuts) {
    const x = frame.x(ticks.placeOf(at));
    frame.rule(x, frame.inner.top, x, frame.inner.bottom, "pause");
    frame.axes.lastChild.append(drawing("title", { text: `${duration(skipped)} without a trial` }));
  }
};
