// Each picture of one's own is drawn when it is first looked at, and again when its look, its width
// or what is kept has changed.
const makers = {
  parallel: parallelView,
  plane: planeView,
  curves: curvesView,
  progress: progressView,
  workers: workersView,
  table: tableView,
};
const views = [...document.querySelectorAll(".view")].map((place) => {
  const view = makers[place.dataset.view](place);
  if (view.mark) markers.push((row) => view.drawn && view.mark(row));
  return Object.assign(view, { place, near: false, stale: true, drawn: false });
});
const drawView = (view) => {
  view.draw();
  Object.assign(view, { stale: false, drawn: true });
  view.place.dataset.drawn = "yes";
  delete view.place.dataset.stale;
};
const near = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const view = views.find(({ place }) => place === entry.target);
      view.near = entry.isIntersecting;
      if (view.near && view.stale) drawView(view);
    }
  },
  { rootMargin: "400px" },
);
const redraw = (now) => {
  for (const view of views) {
    view.stale = true;
    view.place.dataset.stale = "yes";
    if (now || view.near) drawView(view);
  }
};
views.forEach(({ place }) => near.observe(place));
filtered.push(() => redraw(false));
looks.push(redraw);
let width = root.clientWidth;
addEventListener(
  "resize",
  onceAFrame(() => {
    if (root.clientWidth === width || printing) return;
    width = root.clientWidth;
    redraw(false);
  }),
);
