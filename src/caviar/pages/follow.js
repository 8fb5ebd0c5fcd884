// Beside the page of a study that is served: loads it again when there is a newer one, and keeps
// the place and what was chosen. A button says how things are, and holds the page still.
"use strict";
(() => {
  const PERIOD = 2000; // milliseconds
  const KEPT = `caviar ${location.pathname}`;
  const fields = () => [...document.querySelectorAll("input, select, textarea, details")];
  // By its id; without one by its place, which is the same as long as the page has the same parts.
  const name = (field, at) => field.id || `${field.tagName} ${at}`;

  const button = document.createElement("button");
  button.type = "button";
  button.id = "follow";
  button.style.cssText =
    "position:fixed;right:1rem;bottom:1rem;z-index:9;padding:.3rem .7rem;border-radius:1rem;" +
    "border:1px solid;font:inherit;font-size:.85rem;background:Canvas;color:CanvasText;cursor:pointer";
  document.body.append(button);

  const value = (field) =>
    field.tagName === "DETAILS" ? field.open
      : field.type === "checkbox" || field.type === "radio" ? field.checked : field.value;

  function keep() {
    const values = fields().map((field, at) => [name(field, at), value(field)]);
    const kept = { place: scrollY, held, values, focus: document.activeElement?.id };
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
  }

  function restore() {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    if (!kept) return;
    sessionStorage.removeItem(KEPT); // a reload by hand begins anew
    held = kept.held;
    const now = new Map(fields().map((field, at) => [name(field, at), field]));
    for (const [at, was] of kept.values) {
      const field = now.get(at);
      if (!field || value(field) === was) continue;
      if (field.tagName === "SELECT" && ![...field.options].some((one) => one.value === was)) continue;
      if (field.tagName === "DETAILS") field.open = was;
      else if (field.type === "checkbox" || field.type === "radio") field.checked = was;
      else field.value = was;
      for (const event of ["input", "change"]) field.dispatchEvent(new Event(event, { bubbles: true }));
    }
    if (kept.focus) document.getElementById(kept.focus)?.focus({ preventScroll: true });
    history.scrollRestoration = "manual";
    // Pictures are drawn after this, and move what is below them.
    const back = () => scrollTo(0, kept.place);
    const until = performance.now() + 3000;
    const watch = new ResizeObserver(() => performance.now() < until && !moved && back());
    let moved = false;
    for (const event of ["wheel", "touchstart", "keydown", "mousedown"])
      addEventListener(event, () => { moved = true; }, { once: true, passive: true });
    watch.observe(document.body);
    back();
  }

  let held = false;
  let last = { version: FOLLOWED.version, ended: false };
  let lost = false;

  function show() {
    const newer = last.version !== FOLLOWED.version;
    button.textContent = lost ? "not served any more"
      : held ? (newer ? "held still; there is news" : "held still")
      : last.ended ? "complete" : "following";
    button.title = held ? "follow the study" : "hold the page still";
    button.setAttribute("aria-pressed", String(held));
  }

  async function ask() {
    try {
      last = await (await fetch("last", { cache: "no-store" })).json();
      lost = false;
    } catch {
      lost = true;
    }
    show();
    // A page that nobody sees, or in which somebody is marking something, can wait.
    const busy = document.hidden || held || !getSelection().isCollapsed;
    if (!lost && last.version !== FOLLOWED.version && !busy) {
      keep();
      location.reload();
      return;
    }
    setTimeout(ask, PERIOD);
  }

  button.addEventListener("click", () => { held = !held; show(); });
  document.addEventListener("visibilitychange", () => document.hidden || show());
  restore();
  show();
  setTimeout(ask, PERIOD);
})();
