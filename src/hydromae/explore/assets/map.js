"use strict";
// Map of the gauges, coloured by a score; selection by click or with the arrow keys.

const SVG = "http://www.w3.org/2000/svg";
const CLASSES = [-Infinity, 0, 0.3, 0.5, 0.7, 0.8, 0.9];
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const REACH = 30; // maximum distance of a click from a gauge [pixels]
const NEAR = 12; // maximum distance of the pointer from a gauge whose name it shows [pixels]
const STILL = 4; // maximum movement of the pointer during a click [pixels]
const MOST_ZOOM = 16;

class CountryMap {
  // `onSelect(k)` is called with the index of a gauge; `available` are the rivers that can be shown, null is all.
  // `onFrame()` is called when the visible part has changed.
  constructor(svg, record, onSelect, available, onFrame) {
    this.svg = svg;
    this.record = record;
    this.onSelect = onSelect;
    this.available = available;
    this.onFrame = onFrame;
    this.scores = null;
    this.home = svg.getAttribute("viewBox").split(" ").map(Number);
    this.zoom = 1;
    this.centre = [this.home[0] + this.home[2] / 2, this.home[1] + this.home[3] / 2];
    this.active = -1;
    this.positions = record.river.map((_, k) => [record.easting[k], -record.northing[k]]);
    this.dots = this.positions.map(([east, south], k) => this.dot(east, south, k));
    this.paint(null);
    svg.addEventListener("click", (event) => this.clicked(event));
    svg.addEventListener("keydown", (event) => this.pressed(event));
    svg.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    this.listenToDrags();
  }

  dot(east, south, k) {
    const circle = document.createElementNS(SVG, "circle");
    circle.id = `gauge-${k}`;
    circle.setAttribute("cx", east);
    circle.setAttribute("cy", south);
    circle.setAttribute("role", "option");
    circle.setAttribute("aria-selected", "false");
    return circle;
  }

  radius() {
    return (this.dots.length > 150 ? 6.5 : 10) / Math.sqrt(this.zoom) / (this.zoom > 1 ? 1.3 : 1);
  }

  label(k) {
    const { river, name } = this.record;
    return name[k] ? `${river[k]}, ${name[k]}` : river[k];
  }

  // Colour by NSE, the lowest on top; one colour without scores.
  paint(scores) {
    const nse = scores ? scores.nse : null;
    this.scores = scores;
    const order = this.dots.map((_, k) => k);
    if (nse) order.sort((a, b) => (nse[b] ?? -Infinity) - (nse[a] ?? -Infinity));
    for (const k of order) {
      const known = nse && nse[k] !== null;
      const kind = known ? `s${CLASSES.findLastIndex((low) => nse[k] >= low)}` : nse ? "none" : "plain";
      const absent = this.available && !this.available.has(this.record.river[k]);
      this.dots[k].setAttribute("class", absent ? `${kind} absent` : kind);
      this.dots[k].setAttribute("r", this.radius());
      this.dots[k].setAttribute("aria-label", nse ? `${this.label(k)}, NSE ${format.number(nse[k])}` : this.label(k));
    }
    byId("dots").replaceChildren(...order.map((k) => this.dots[k]));
    this.mark(this.chosen ?? -1);
  }

  mark(k) {
    this.chosen = k;
    this.dots.forEach((dot, n) => {
      dot.classList.toggle("chosen", n === k);
      dot.setAttribute("aria-selected", String(n === k));
      dot.setAttribute("r", this.radius() * (n === k ? 1.8 : 1));
    });
    if (k < 0) return;
    byId("dots").append(this.dots[k]);
    this.point(k);
  }

  point(k) {
    this.dots[this.active]?.classList.remove("active");
    this.active = k;
    this.dots[k].classList.add("active");
    this.svg.setAttribute("aria-activedescendant", `gauge-${k}`);
    if (document.activeElement === this.svg) this.tip(k);
  }

  // Name of a gauge beside its dot; -1 removes it.
  tip(k) {
    const box = byId("tip");
    box.hidden = k < 0;
    if (k < 0) return;
    const { area } = this.record;
    const nse = this.scores ? `, NSE ${format.number(this.scores.nse[k])}` : "";
    box.textContent = `${this.label(k)}${area[k] === null ? "" : `, ${format.number(area[k], 0)} km²`}${nse}`;
    const frame = this.svg.getScreenCTM();
    const around = box.parentElement.getBoundingClientRect();
    const x = frame.a * this.positions[k][0] + frame.e - around.left;
    const y = frame.d * this.positions[k][1] + frame.f - around.top;
    const left = Math.min(Math.max(x - box.offsetWidth / 2, 0), Math.max(0, around.width - box.offsetWidth));
    const above = y - box.offsetHeight - 12;
    box.style.left = `${left}px`;
    box.style.top = `${above < 0 ? y + 14 : above}px`;
  }

  // Lines from the selected gauge to its neighbours.
  link(rivers) {
    const [east, south] = this.positions[this.chosen];
    const positions = new Map(this.record.river.map((name, k) => [name, this.positions[k]]));
    byId("links").replaceChildren(
      ...rivers.map((name) => {
        const line = document.createElementNS(SVG, "line");
        const ends = { x1: east, y1: south, x2: positions.get(name)[0], y2: positions.get(name)[1] };
        for (const [end, value] of Object.entries(ends)) line.setAttribute(end, value);
        return line;
      }),
    );
  }

  // Zoom about a point of the map [km]; a factor of 1 shows the whole country.
  zoomBy(factor, [east, south] = this.positions[this.active] ?? this.centre) {
    const before = this.zoom;
    const zoom = factor === 1 ? 1 : Math.min(MOST_ZOOM, Math.max(1, this.zoom * factor));
    const [x, y] = this.centre;
    const share = before / zoom;
    this.frame([east + (x - east) * share, south + (y - south) * share], zoom);
  }

  // Show the part around a centre, inside the whole country.
  frame([east, south], zoom) {
    const [west, north, width, height] = this.home;
    const [wide, high] = [width / zoom, height / zoom];
    const within = (value, low, size, part) => Math.min(Math.max(value, low + part / 2), low + size - part / 2);
    this.zoom = zoom;
    this.centre = [within(east, west, width, wide), within(south, north, height, high)];
    const [x, y] = this.centre;
    this.svg.setAttribute("viewBox", [x - wide / 2, y - high / 2, wide, high].join(" "));
    this.svg.classList.toggle("zoomed", zoom > 1);
    this.dots.forEach((dot, k) => dot.setAttribute("r", this.radius() * (k === this.chosen ? 1.8 : 1)));
    this.tip(-1);
    this.onFrame();
  }

  // Centre and zoom for the address; empty for the whole country.
  framed() {
    return this.zoom === 1 ? "" : [...this.centre.map((km) => km.toFixed(1)), this.zoom.toFixed(2)].join(",");
  }

  // Zoom about the pointer; at the whole country a turn outward scrolls the page.
  wheeled(event) {
    if (event.deltaY > 0 && this.zoom === 1) return;
    event.preventDefault();
    this.zoomBy(Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) / 300), this.place(event));
  }

  place(event) {
    const frame = this.svg.getScreenCTM();
    return [(event.clientX - frame.e) / frame.a, (event.clientY - frame.f) / frame.d];
  }

  // Drag with the mouse, or with a finger while zoomed in (otherwise it scrolls the page).
  listenToDrags() {
    let from = null;
    this.svg.addEventListener("pointerdown", (event) => {
      this.dragged = false;
      if (event.button === 0 && event.isPrimary) from = { x: event.clientX, y: event.clientY, centre: this.centre };
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (!from) return this.tip(this.nearest(event, NEAR));
      const [right, down] = [event.clientX - from.x, event.clientY - from.y];
      if (!this.dragged && Math.hypot(right, down) <= STILL) return undefined;
      if (!this.dragged) this.svg.setPointerCapture(event.pointerId);
      this.dragged = true;
      const scale = this.svg.getScreenCTM();
      this.frame([from.centre[0] - right / scale.a, from.centre[1] - down / scale.d], this.zoom);
      return undefined;
    });
    for (const end of ["pointerup", "pointercancel"]) this.svg.addEventListener(end, () => { from = null; });
    this.svg.addEventListener("pointerleave", () => this.tip(-1));
    this.svg.addEventListener("blur", () => this.tip(-1));
  }

  // The gauge nearest to the pointer within a distance [pixels], or -1.
  nearest(event, reach) {
    const frame = this.svg.getScreenCTM();
    let best = [reach, -1];
    this.positions.forEach(([east, south], k) => {
      const distance = Math.hypot(frame.a * east + frame.e - event.clientX, frame.d * south + frame.f - event.clientY);
      if (distance <= best[0]) best = [distance, k];
    });
    return best[1];
  }

  clicked(event) {
    if (this.dragged) return;
    const k = this.nearest(event, REACH);
    if (k >= 0) this.onSelect(k);
  }

  pressed(event) {
    if ((event.key === "Enter" || event.key === " ") && this.active >= 0) {
      event.preventDefault();
      this.onSelect(this.active);
    } else if (DIRECTIONS[event.key]) {
      event.preventDefault();
      const next = this.towards(DIRECTIONS[event.key]);
      if (next >= 0) this.point(next);
    }
  }

  // The nearest gauge in a direction, with a penalty for lateral distance.
  towards([right, down]) {
    const [east, south] = this.positions[this.active] ?? this.centre;
    let best = [Infinity, -1];
    this.positions.forEach(([x, y], k) => {
      const along = (x - east) * right + (y - south) * down;
      const aside = Math.abs((x - east) * down) + Math.abs((y - south) * right);
      if (k !== this.active && along > 0 && along + 2 * aside < best[0]) best = [along + 2 * aside, k];
    });
    return best[1];
  }
}
