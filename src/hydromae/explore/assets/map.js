"use strict";
// Map of the gauges, coloured by a score; selection by click or with the arrow keys.

const SVG = "http://www.w3.org/2000/svg";
const CLASSES = [-Infinity, 0, 0.3, 0.5, 0.7, 0.8, 0.9];
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const REACH = 30; // maximum distance of a click from a gauge [pixels]

class CountryMap {
  // `onSelect(k)` is called with the index of a gauge; `available` are the rivers that can be shown, null is all.
  constructor(svg, record, onSelect, available) {
    this.svg = svg;
    this.record = record;
    this.onSelect = onSelect;
    this.available = available;
    this.home = svg.getAttribute("viewBox").split(" ").map(Number);
    this.zoom = 1;
    this.active = -1;
    this.positions = record.river.map((_, k) => [record.easting[k], -record.northing[k]]);
    this.dots = this.positions.map(([east, south], k) => this.dot(east, south, k));
    this.paint(null);
    svg.addEventListener("click", (event) => this.clicked(event));
    svg.addEventListener("keydown", (event) => this.pressed(event));
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
    byId("map-help").textContent = `${this.dots[k].getAttribute("aria-label")}. Press Enter to show it.`;
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

  zoomBy(factor) {
    this.zoom = factor === 1 ? 1 : Math.min(16, this.zoom * factor);
    const [west, north, width, height] = this.home;
    const [east, south] = this.positions[this.active] ?? [west + width / 2, north + height / 2];
    const [wide, high] = [width / this.zoom, height / this.zoom];
    const box = this.zoom === 1 ? this.home : [east - wide / 2, south - high / 2, wide, high];
    this.svg.setAttribute("viewBox", box.join(" "));
    this.mark(this.chosen);
  }

  clicked(event) {
    const frame = this.svg.getScreenCTM();
    const near = this.positions.map(([east, south], k) => {
      const right = frame.a * east + frame.e - event.clientX;
      const down = frame.d * south + frame.f - event.clientY;
      return [Math.hypot(right, down), k];
    });
    const [distance, k] = near.reduce((best, one) => (one[0] < best[0] ? one : best));
    if (distance <= REACH) this.onSelect(k);
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
    const [west, north, width, height] = this.home;
    const [east, south] = this.positions[this.active] ?? [west + width / 2, north + height / 2];
    let best = [Infinity, -1];
    this.positions.forEach(([x, y], k) => {
      const along = (x - east) * right + (y - south) * down;
      const aside = Math.abs((x - east) * down) + Math.abs((y - south) * right);
      if (k !== this.active && along > 0 && along + 2 * aside < best[0]) best = [along + 2 * aside, k];
    });
    return best[1];
  }
}
