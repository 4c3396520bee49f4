"use strict";
// The whole record of a river in lowest and highest flow of every few days, and its flow duration curve.

class WholeRecord {
  // `onSelect(from, to)` is called with dragged days, `onPlace(day)` with a clicked one; null disables both.
  constructor(host, axis, onSelect, onPlace) {
    Object.assign(this, { host, axis, onSelect, onPlace });
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(host);
  }

  size() {
    return { width: this.host.clientWidth, height: 150 };
  }

  // `view` is the first and the last day shown above.
  show(station, area, view) {
    Object.assign(this, { station, area, view });
    this.scale = flowScale(area);
    const { start, step, low, high } = station.whole;
    this.first = days.number(start);
    const log = display.axis === "log" ? ", logarithmic" : "";
    const every = step === 1 ? "of every day" : `of every ${step} days, lowest to highest`;
    this.axis.textContent = `River flow [${this.scale.units}]${log}, ${every}.`;
    this.levels = shownLevels(station.thresholds, this.scale.factor);
    const rows = [low, high].map((row) => scaled(row, this.scale.factor));
    this.range = flowRange([rows[1]], [rows[0]], this.levels);
    const seconds = low.map((_, k) => (this.first + k * step) * SECONDS);
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), [seconds, ...rows.map((row) => onAxis(row, this.range))], this.host);
  }

  redraw() {
    if (this.station) this.show(this.station, this.area, this.view);
  }

  options() {
    const ink = axisInk();
    const y = flowAxis(this.range, ink);
    const line = { stroke: colour("--ink"), width: 0.8, points: { show: false } };
    const years = (_, splits) => splits.map((seconds) => String(new Date(seconds * 1e3).getUTCFullYear()));
    return {
      ...this.size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      legend: { show: false },
      cursor: { drag: { x: Boolean(this.onSelect), y: false, setScale: false }, y: false, points: { show: false } },
      scales: { x: { time: true }, y: y.scale },
      axes: [this.spansYears() ? { ...ink, size: 28, space: 48, values: years } : { ...ink, space: 58, values: (_, splits, __, ___, step) => ticks(splits, step) }, { ...y.axis, space: 24 }],
      series: [{}, line, line],
      bands: [{ series: [2, 1], fill: colour("--ink") }],
      hooks: {
        drawClear: [(plot) => this.shade(plot)],
        draw: [(plot) => drawLevels(plot, this.levels, this.range, false)],
        setSelect: [(plot) => this.selected(plot)],
        ready: [(plot) => this.onPlace && plot.over.addEventListener("click", (event) => this.clicked(plot, event))],
      },
    };
  }

  spansYears() {
    return this.station.whole.low.length * this.station.whole.step > 3 * 365;
  }

  shade(plot) {
    const { ctx, bbox } = plot;
    const [from, to] = this.view.map((day) => plot.valToPos(days.number(day) * SECONDS, "x", true));
    ctx.save();
    ctx.fillStyle = colour("--shown-ground");
    ctx.fillRect(from, bbox.top, Math.max(to - from, 3 * devicePixelRatio), bbox.height);
    ctx.restore();
  }

  day(plot, left) {
    return days.text(Math.round(plot.posToVal(left, "x") / SECONDS));
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (!this.onSelect || width < 4) return;
    this.dragged = true;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.onSelect(this.day(plot, left), this.day(plot, left + width));
  }

  clicked(plot, event) {
    if (!this.dragged) this.onPlace(this.day(plot, event.clientX - plot.over.getBoundingClientRect().left));
    this.dragged = false;
  }
}

// Flow that is exceeded on a share of the days: of the whole record, of the days shown, and of those with predictions.
class DurationCurve {
  constructor(host, axis, words) {
    Object.assign(this, { host, axis, words });
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(host);
  }

  size() {
    return { width: this.host.clientWidth, height: Math.max(220, Math.min(300, this.host.clientWidth * 0.45)) };
  }

  show(station, response, area) {
    Object.assign(this, { station, response, area });
    if (!this.host.clientWidth) return; // closed
    this.scale = flowScale(area);
    const { shares, flow } = station.duration;
    const isHidden = new Set((response.hidden ?? []).flatMap(([from, to]) => days.between(from, to)));
    const first = days.number(response.start);
    const filled = response.flow.map((value, k) => (response.mean?.[k] ?? null) ?? (isHidden.has(first + k) ? null : value));
    const predicted = response.mean?.some((value) => value !== null);
    const rows = [flow, exceeded(response.flow, shares), predicted ? exceeded(filled, shares) : Array(shares.length).fill(null)];
    this.rows = rows.map((row) => scaled(row, this.scale.factor));
    this.levels = shownLevels(station.thresholds, this.scale.factor);
    this.range = flowRange(this.rows, [], this.levels);
    const log = display.axis === "log" ? ", logarithmic" : "";
    this.axis.textContent = `River flow [${this.scale.units}]${log} that is exceeded on a share of the days.`;
    this.words.textContent =
      `Grey: all ${format.count(station.duration.days, "observed day")} of the record. Black: the observed days shown above.` +
      (predicted ? " Blue: the same with the predicted mean on hidden and unobserved days; a mean varies less than flow." : "");
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), [shares.map((share) => 100 * share), ...this.rows.map((row) => onAxis(row, this.range))], this.host);
    this.host.setAttribute("aria-label", `Flow duration curve. Exceeded on 5 % of the days: ${this.at(0.05)}, on half: ${this.at(0.5)}, on 95 %: ${this.at(0.95)} ${this.scale.units}.`);
  }

  at(share) {
    return format.flow(this.rows[0][this.station.duration.shares.findIndex((one) => Math.abs(one - share) < 1e-6)]);
  }

  redraw() {
    if (this.station) this.show(this.station, this.response, this.area);
  }

  options() {
    const ink = axisInk();
    const y = flowAxis(this.range, ink);
    const line = (name, width) => ({ stroke: colour(name), width, points: { show: false } });
    return {
      ...this.size(),
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, y: false },
      scales: { x: { time: false, range: () => [0, 100] }, y: y.scale },
      axes: [{ ...ink, values: (_, splits) => splits.map((share) => `${share} %`) }, y.axis],
      series: [{}, line("--soft", 1.3), line("--ink", 1.3), line("--water", 2.2)],
      hooks: { draw: [(plot) => drawLevels(plot, this.levels, this.range)] },
    };
  }
}

// Flow exceeded on shares of the days of a row, linear between its ordered values; null without values.
function exceeded(row, shares) {
  const ordered = row.filter((value) => value !== null).sort((a, b) => b - a);
  if (!ordered.length) return shares.map(() => null);
  return shares.map((share) => {
    const place = share * (ordered.length - 1);
    const below = Math.floor(place);
    const above = Math.min(below + 1, ordered.length - 1);
    return ordered[below] + (place - below) * (ordered[above] - ordered[below]);
  });
}
