"use strict";
// Hydrograph with uPlot: rain, observed flow, prediction with intervals, a baseline, thresholds, shaded hidden days; days are
// selected by mouse, touch or keyboard.

class Hydrograph {
  // `parts` are the elements host, axis and readout; `onSelect(from, to)` is called with the selected days; null disables it.
  constructor(parts, onSelect) {
    Object.assign(this, parts);
    this.onSelect = onSelect;
    this.selectionStart = null;
    this.host.addEventListener("keydown", (event) => this.pressed(event));
    this.observer = new ResizeObserver(() => this.plot?.setSize(this.size()));
    this.observer.observe(this.host);
  }

  size() {
    return { width: this.host.clientWidth, height: Math.max(230, Math.min(340, this.host.clientWidth * 0.5)) };
  }

  // `area` [km²] is that of the catchment; `thresholds` may be null.
  show(response, label, area, thresholds) {
    Object.assign(this, { response, label, area, thresholds });
    this.first = days.number(response.start);
    this.count = response.flow.length;
    this.scale = flowScale(area);
    this.host.setAttribute("aria-label", label);
    const log = display.axis === "log" ? ", logarithmic" : "";
    const hasRain = response.rain.some((value) => value !== null);
    const rain = hasRain ? ` Rain from above, maximum ${format.number(highest(response.rain), 0)} mm/day.` : "";
    this.axis.textContent = `River flow [${this.scale.units}]${log}.${rain}`;
    const index = this.plot?.cursor.idx;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), this.columns(), this.host);
    this.readout.textContent = "";
    if (index !== null && index !== undefined && index < this.count && document.activeElement === this.host) this.point(index);
  }

  redraw() {
    if (this.response) this.show(this.response, this.label, this.area, this.thresholds);
  }

  close() {
    this.observer.disconnect();
    this.plot?.destroy();
  }

  baseline() {
    return (this.response.baselines ?? []).find((one) => one.name === display.beside || (display.beside !== "none" && one.name === "persistence"));
  }

  quantile(level) {
    const { levels, quantiles } = this.response;
    const row = levels ? levels.findIndex((one) => Math.abs(one - level) < 1e-6) : -1;
    return row < 0 ? Array(this.count).fill(null) : quantiles[row];
  }

  // Flow in the units shown: observed, mean, quantiles of `LEVELS`, baseline; null where there is none.
  rows() {
    const none = Array(this.count).fill(null);
    const { flow, mean } = this.response;
    const parts = { flow, mean: mean ?? none, quantiles: LEVELS.map((level) => this.quantile(level)), baseline: this.baseline()?.flow ?? none };
    const inUnits = (row) => scaled(row, this.scale.factor);
    return { flow: inUnits(parts.flow), mean: inUnits(parts.mean), quantiles: parts.quantiles.map(inUnits), baseline: inUnits(parts.baseline) };
  }

  columns() {
    const seconds = Array.from({ length: this.count }, (_, k) => (this.first + k) * SECONDS);
    const { flow, mean, quantiles, baseline } = this.rows();
    return [seconds, this.response.rain, ...[...quantiles, baseline, flow, mean].map((row) => onAxis(row, this.range))];
  }

  options() {
    const { flow, mean, quantiles, baseline } = this.rows();
    this.levels = shownLevels(this.thresholds, this.scale.factor);
    this.range = flowRange([flow, mean, baseline], [quantiles.at(-1), quantiles[0]], this.levels);
    const wettest = highest(this.response.rain) || 1;
    const ink = axisInk();
    const y = flowAxis(this.range, ink);
    const edge = { stroke: colour("--edge-of-interval"), width: 1, points: { show: false } };
    const dots = (name) => ({ show: true, size: 5, fill: colour(name), filter: (plot, row) => isolated(plot.data[row]) });
    const bars = uPlot.paths.bars({ size: [0.8, 40] });
    return {
      ...this.size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      legend: { show: false },
      cursor: { drag: { x: Boolean(this.onSelect), y: false, setScale: false }, y: false },
      scales: {
        x: { time: true, range: () => [(this.first - 0.5) * SECONDS, (this.first + this.count - 0.5) * SECONDS] },
        y: y.scale,
        rain: { dir: -1, range: () => [0, wettest / RAIN_SHARE] },
      },
      axes: [{ ...ink, space: 58, values: (_, splits, __, ___, step) => ticks(splits, step) }, y.axis],
      series: [
        {},
        { scale: "rain", fill: colour("--rain"), width: 0, paths: bars, points: { show: false } },
        edge,
        { ...edge, stroke: undefined, width: 0 },
        { ...edge, stroke: undefined, width: 0 },
        edge,
        { stroke: colour("--beside"), width: 1.6, dash: [3, 3], points: { show: false } },
        { stroke: colour("--ink"), width: 1.3, points: dots("--ink") },
        { stroke: colour("--water"), width: 2.2, points: dots("--water") },
      ],
      bands: [
        { series: [5, 2], fill: colour("--wide") },
        { series: [4, 3], fill: colour("--narrow") },
      ],
      hooks: {
        ready: [(plot) => this.onSelect && this.touched(plot)],
        drawClear: [(plot) => this.shade(plot)],
        draw: [(plot) => drawLevels(plot, this.levels, this.range)],
        setCursor: [(plot) => this.read(plot.cursor.idx)],
        setSelect: [(plot) => this.selected(plot)],
      },
    };
  }

  // Hidden days as background, the issue day as a line.
  shade(plot) {
    const { ctx, bbox } = plot;
    const x = (day) => plot.valToPos(day * SECONDS, "x", true);
    ctx.save();
    ctx.fillStyle = colour("--hidden-ground");
    for (const [from, to] of this.response.hidden ?? []) {
      const [left, right] = [x(days.number(from) - 0.5), x(days.number(to) + 0.5)];
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
    }
    if (this.response.issue) {
      ctx.strokeStyle = colour("--chosen");
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(x(days.number(this.response.issue) + 0.5), bbox.top);
      ctx.lineTo(x(days.number(this.response.issue) + 0.5), bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  read(k) {
    if (k === null || k === undefined) return;
    const { rain, flow, mean } = this.response;
    const { factor, units } = this.scale;
    const text = (value) => format.flow(value === null || value === undefined ? null : value * factor);
    const parts = [`${days.words(days.text(this.first + k))}: rain ${format.number(rain[k], 1)} mm`, `observed ${text(flow[k])}`];
    if (mean && mean[k] !== null) {
      const [low, high] = [this.quantile(0.05)[k], this.quantile(0.95)[k]];
      parts.push(`predicted ${text(mean[k])} (90 %: ${text(low)} to ${text(high)})`);
      const baseline = this.baseline();
      if (baseline && baseline.flow[k] !== null) parts.push(`${baseline.title.toLowerCase()} ${text(baseline.flow[k])}`);
    }
    this.readout.textContent = `${parts.join(", ")} ${units}${this.chance(k)}`;
  }

  // Chances of a predicted day that are neither 0 nor 1 to the percent.
  chance(k) {
    const titles = new Map((this.thresholds?.levels ?? []).map((level) => [level.key, level]));
    const said = (this.response.chances ?? [])
      .filter((one) => titles.has(one.key) && one.by_day[k] !== null && one.by_day[k] >= 0.005)
      .map((one) => `${titles.get(one.key).above ? "above" : "below"} the ${titles.get(one.key).title} ${format.share(one.by_day[k])}`);
    return said.length ? `. Chance: ${said.join(", ")}` : "";
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (!this.onSelect || width < 4) return;
    const [from, to] = [plot.posToIdx(left), plot.posToIdx(left + width)];
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.choose(from, to);
  }

  choose(from, to) {
    this.selectionStart = null;
    this.onSelect(days.text(this.first + Math.min(from, to)), days.text(this.first + Math.max(from, to)));
  }

  // uPlot only supports the mouse: horizontal touch selects days, vertical touch scrolls the page.
  touched(plot) {
    const position = (event) => Math.min(Math.max(event.clientX - plot.over.getBoundingClientRect().left, 0), plot.over.clientWidth);
    let from = null;
    plot.over.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse") return;
      from = position(event);
      plot.over.setPointerCapture(event.pointerId);
    });
    plot.over.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const to = position(event);
      plot.setCursor({ left: to, top: 1 });
      this.mark(plot, from, to);
    });
    plot.over.addEventListener("pointercancel", () => {
      from = null;
      this.mark(plot, 0, 0);
    });
    plot.over.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const [left, right] = [Math.min(from, position(event)), Math.max(from, position(event))];
      from = null;
      this.mark(plot, 0, 0);
      if (right - left >= 8) this.choose(plot.posToIdx(left), plot.posToIdx(right));
    });
  }

  mark(plot, from, to) {
    const height = from === to ? 0 : plot.over.clientHeight;
    plot.setSelect({ left: Math.min(from, to), top: 0, width: Math.abs(to - from), height }, false);
  }

  point(k) {
    const left = this.plot.valToPos((this.first + k) * SECONDS, "x");
    this.plot.setCursor({ left, top: 1 }, false);
    this.index = k;
    this.read(k);
  }

  pressed(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -1e6, End: 1e6 }[event.key];
    if (!this.plot) return;
    if (step) {
      event.preventDefault();
      const from = this.index ?? (step > 0 ? -1 : this.count);
      const to = Math.min(Math.max(from + step, 0), this.count - 1);
      if (event.shiftKey && this.onSelect) this.selectionStart ??= Math.min(Math.max(from, 0), this.count - 1);
      if (!event.shiftKey) this.selectionStart = null;
      this.point(to);
      this.outline();
    } else if (event.key === "Enter" && this.selectionStart !== null && this.selectionStart !== undefined) {
      event.preventDefault();
      this.choose(this.selectionStart, this.index);
    } else if (event.key === "Escape") {
      this.selectionStart = null;
      this.outline();
    }
  }

  outline() {
    if (this.selectionStart === null) return this.mark(this.plot, 0, 0);
    const x = (k) => this.plot.valToPos((this.first + k) * SECONDS, "x");
    const [low, high] = [Math.min(this.selectionStart, this.index), Math.max(this.selectionStart, this.index)];
    this.mark(this.plot, x(low - 0.5), x(high + 0.5));
    return undefined;
  }
}
