// A picture of one's own: marks on a canvas, axes and words above it as SVG, and a layer on top for
// what is pointed at, which is drawn without drawing the rest.
class Frame {
  constructor(place, height, { left = 62, right = 14, top = 12, bottom = 44 } = {}) {
    this.margin = { left, right, top, bottom };
    this.height = height;
    this.canvas = element("canvas");
    this.svg = drawing("svg", { "aria-hidden": "true" });
    this.grid = drawing("svg", { "aria-hidden": "true" }); // below the marks
    this.box = element("div", { className: "frame" }, this.grid, this.canvas, this.svg);
    this.place = place;
    place.append(this.box);
  }

  // Empty it, as wide as there is room; a context that draws in pixels of the page.
  begin(least = 0) {
    this.width = Math.max(this.place.clientWidth || 680, least);
    if (printing) this.width = Math.max(680, least);
    const { left, right, top, bottom } = this.margin;
    this.inner = { left, top, right: this.width - right, bottom: this.height - bottom };
    const sharp = printing ? 3 : Math.max(1, devicePixelRatio);
    const [width, height] = [Math.round(this.width * sharp), Math.round(this.height * sharp)];
    if (this.canvas.width !== width || this.canvas.height !== height)
      Object.assign(this.canvas, { width, height });
    this.box.style.width = `${this.width}px`;
    this.box.style.aspectRatio = `${this.width} / ${this.height}`;
    for (const svg of [this.grid, this.svg]) {
      svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    }
    this.grid.replaceChildren();
    this.axes = drawing("g");
    this.over = drawing("g");
    this.svg.replaceChildren(this.axes, this.over);
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.scale(sharp, sharp);
    this.sharp = sharp;
    return context;
  }

  x(u) {
    return this.inner.left + u * (this.inner.right - this.inner.left);
  }
  y(u) {
    return this.inner.bottom - u * (this.inner.bottom - this.inner.top);
  }

  rule(x1, y1, x2, y2, className = "rule", layer = this.axes) {
    layer.append(drawing("line", { x1, y1, x2, y2, className }));
  }

  words(text, x, y, attributes = {}) {
    const made = drawing("text", { x, y, text, ...attributes });
    this.axes.append(made);
    return made;
  }

  across(scale, title) {
    const { left, right, bottom } = this.inner;
    this.rule(left, bottom, right, bottom);
    const most = Math.max(2, Math.floor((right - left) / 90));
    const ticks = scale.ticks(most);
    const step = scale.kind === "choice" ? Math.ceil((ticks.length * 60) / (right - left)) : 1;
    ticks
      .filter((_, i) => i % step === 0)
      .forEach(({ place, text }) => {
        const x = this.x(place);
        if (x < left - 1 || x > right + 1) return;
        this.rule(x, bottom, x, bottom + 4);
        this.words(clipped(text, 14), x, bottom + 17, { "text-anchor": "middle" });
      });
    this.words(title, (left + right) / 2, bottom + 36, {
      "text-anchor": "middle",
      className: "title",
    });
  }

  up(scale, title) {
    const { left, right, top, bottom } = this.inner;
    this.rule(left, top, left, bottom);
    for (const { place, text } of scale.ticks(Math.max(2, Math.floor((bottom - top) / 48)))) {
      const y = this.y(place);
      if (y < top - 1 || y > bottom + 1) continue;
      if (scale.kind !== "choice") this.rule(left, y, right, y, "grid", this.grid);
      this.words(clipped(text, 9), left - 6, y + 4, { "text-anchor": "end" });
    }
    this.words(clipped(title, 40), 12, (top + bottom) / 2, {
      "text-anchor": "middle",
      className: "title",
      transform: `rotate(-90 12 ${(top + bottom) / 2})`,
    });
  }

  // Call `move` with where the pointer is in the picture, also while it is scaled down.
  onPointer(move, leave) {
    this.box.addEventListener("pointermove", (event) => move(...this.at(event), event));
    this.box.addEventListener("pointerdown", (event) => move(...this.at(event), event));
    this.box.addEventListener("pointerleave", leave);
  }

  at(event) {
    const { left, top, width } = this.box.getBoundingClientRect();
    const scale = this.width / width;
    return [(event.clientX - left) * scale, (event.clientY - top) * scale];
  }

  dot(x, y, radius = 5) {
    if (Number.isFinite(x) && Number.isFinite(y))
      this.over.append(drawing("circle", { cx: x, cy: y, r: radius, className: "pointed" }));
  }
}

// The spot that a pointer means: the nearest within reach of it, or null.
const nearestSpot = (spots, x, y) => {
  let [near, found] = [26, null];
  for (const spot of spots) {
    const distance = Math.hypot(spot.x - x, spot.y - y);
    if (distance < near) [near, found] = [distance, spot];
  }
  return found;
};

const clipped = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);
const cross = (context, x, y, size = 3) => {
  context.beginPath();
  context.moveTo(x - size, y - size);
  context.lineTo(x + size, y + size);
  context.moveTo(x - size, y + size);
  context.lineTo(x + size, y - size);
  context.stroke();
};
