"use strict";
// What the page does besides showing: plots in the colours of the page, file names to copy, the map.
// Names from the data go into the page by `textContent` alone, and never to plotly.
(function () {
  const byId = (id) => document.getElementById(id);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)");
  const read = (id) => JSON.parse(byId(id).textContent);
  const tell = (text) => { byId("told").textContent = text; };

  // ---- Plots ----

  /** The same figure with the page's colours of now in the place of their names. */
  function colored(value, key) {
    if (Array.isArray(value)) return value.map((each) => colored(each, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, colored(each, name)]));
    }
    const named = typeof value === "string" && /color$/.test(key) && /^var\((--[a-z0-9-]+)\)$/.exec(value);
    return named ? getComputedStyle(document.documentElement).getPropertyValue(named[1]).trim() : value;
  }

  const plots = [...document.querySelectorAll("[data-plot]")].map((element) => (
    { element, figure: read(element.dataset.plot) }
  ));

  /** Draw a plot, or draw it again: what was zoomed or switched off stays so. */
  function draw({ element, figure }) {
    const { data, layout } = colored(figure, "");
    if (element.id === "plot-map" && !coarse.matches) layout.dragmode = "zoom";
    layout.uirevision = "kept";
    return Plotly.react(element, data, layout, { displayModeBar: false, responsive: true, showTips: false });
  }

  if (window.Plotly) {
    plots.forEach(draw);
    dark.addEventListener("change", () => plots.forEach(draw));
  }

  // ---- File names to copy ----

  function select(element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const path = button.parentElement.querySelector(".path");
    try {
      await navigator.clipboard.writeText(path.textContent);
      tell("Copied");
    } catch {  // as many browsers do for a file of this machine
      select(path);
      tell("Selected: copy it with the keyboard or the menu");
    }
  });

  // ---- The map ----

  const map = window.Plotly && byId("plot-map");
  if (!map) return;
  const plot = plots.find((each) => each.element === map);
  const points = read("map-points");
  const [hover, chosen, step, ofClass, place] =
    ["map-hover", "map-chosen", "map-step", "map-class", "map-place"].map(byId);
  const file = (point) => points.path[point].slice(points.path[point].lastIndexOf("/") + 1);
  let shown = [];

  function make(tag, text, name) {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (name) element.className = name;
    return element;
  }

  function picture(point) {
    if (!points.image[point]) return make("p", "No picture", "placeholder");
    const image = make("img");
    image.src = points.image[point];
    image.alt = `Image of ${points.names[points.name[point]]}: ${file(point)}`;
    return image;
  }

  /** Show a point's picture beside the map, and put the ring around it. */
  function choose(point) {
    const frame = make("div", "", "frame");
    frame.append(picture(point));
    const facts = make("dl");
    const row = (term, ...values) => {
      const line = make("div");
      const value = make("dd");
      value.append(...values);
      line.append(make("dt", term), value);
      facts.append(line);
    };
    row("Class", make("bdi", points.names[points.name[point]]));
    const path = make("span", "", "path");
    path.append(make("bdi", points.path[point]));
    const copy = make("button", "Copy", "copy");
    copy.type = "button";
    copy.append(make("span", " the file name", "unseen"));
    row("File", path, copy);
    chosen.replaceChildren(frame, facts);
    const ring = plot.figure.data.at(-1);
    ring.x = [points.x[point]];
    ring.y = [points.y[point]];
    const drawn = draw(plot);
    const position = shown.indexOf(point);
    if (position >= 0) step.value = position;
    step.setAttribute("aria-valuetext", `${points.names[points.name[point]]}, ${file(point)}`);
    place.textContent = position >= 0 ? `${position + 1} of ${shown.length}` : "";
    return drawn;
  }

  /** The points that the slider goes through: from left to right over the map. */
  function list() {
    const only = Number(ofClass.value);
    shown = points.x.map((_, point) => point)
      .filter((point) => (only < 0 || points.trace[point] === only) && plot.figure.data[points.trace[point]].visible !== false)
      .sort((a, b) => points.x[a] - points.x[b] || a - b);
    step.max = Math.max(0, shown.length - 1);
    step.value = 0;
    step.disabled = !shown.length;
    place.textContent = `1 to ${shown.length}`;
  }

  function hide() { hover.hidden = true; }

  /** Show the picture of one of plotly's points beside it, within the map. */
  function peek(at) {
    const point = at.customdata;
    if (point === undefined) return;
    hover.querySelector(".frame").replaceChildren(picture(point));
    const [label, path] = hover.querySelectorAll("bdi");
    label.textContent = points.names[points.name[point]];
    path.textContent = file(point);
    hover.hidden = false;
    const x = at.xaxis.l2p(at.x) + at.xaxis._offset;
    const y = at.yaxis.l2p(at.y) + at.yaxis._offset;
    const [width, height] = [map.offsetWidth - hover.offsetWidth, map.offsetHeight - hover.offsetHeight];
    const right = x + 16 <= width, left = x - 16 - hover.offsetWidth >= 0;
    // Beside the point, or on a narrow screen in the half of the map that it is not in.
    const top = right || left ? Math.max(0, Math.min(y - 40, height)) : y > map.offsetHeight / 2 ? 0 : height;
    hover.style.left = `${map.offsetLeft + (right ? x + 16 : left ? x - 16 - hover.offsetWidth : width / 2)}px`;
    hover.style.top = `${map.offsetTop + top}px`;
  }

  map.on("plotly_hover", (event) => peek(event.points[0]));
  map.on("plotly_unhover", hide);
  map.on("plotly_relayout", hide);
  map.on("plotly_click", (event) => {
    const at = event.points[0];
    if (at.customdata !== undefined) choose(at.customdata).then(() => peek(at));  // a finger does not hover
  });
  document.addEventListener("click", (event) => { if (!map.contains(event.target)) hide(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  step.addEventListener("input", () => { if (shown.length) choose(shown[Number(step.value)]); });
  ofClass.addEventListener("change", () => { list(); if (shown.length) choose(shown[0]); });
  document.querySelectorAll(".legend button").forEach((button) => {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      plot.figure.data[Number(button.dataset.trace)].visible = on;
      draw(plot);
      list();
    });
  });
  list();
})();
