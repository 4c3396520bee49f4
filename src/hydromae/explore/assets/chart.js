"use strict";
// A hydrograph on uPlot: rain from above, measured flow, the answer with its intervals, hidden days shaded; days can be
// chosen by dragging with a mouse or a finger, or with the keys.

const SECONDS = 86400;
const RAIN_SHARE = 0.3; // part of the height that the highest rain takes
const MOST_TAIL = 1.6; // an interval may stretch the axis to so many times the highest line
const LEVELS = [0.05, 0.25, 0.75, 0.95];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const highest = (...rows) => Math.max(0, ...rows.flat().filter((value) => value !== null));

// Places of values that stand alone, which a line does not show.
const lone = (row) => row.flatMap((value, k) => (value !== null && (row[k - 1] ?? null) === null && (row[k + 1] ?? null) === null ? [k] : []));

// Labels of the days axis: days of a month, or months with their year where it begins.
function ticks(splits, step) {
  const part = (seconds, form) => new Intl.DateTimeFormat("en-GB", { ...form, timeZone: "UTC" }).format(seconds * 1e3);
  if (step < 28 * SECONDS) return splits.map((seconds) => part(seconds, { day: "numeric", month: "short" }));
  const year = (seconds) => part(seconds, { year: "numeric" });
  return splits.map((seconds, k) => {
    const begins = k === 0 || year(seconds) !== year(splits[k - 1]);
    return part(seconds, { month: "short" }) + (begins ? `\n${year(seconds)}` : "");
  });
}

class Hydrograph {
  // `chosen(from, to)` is told which days were chosen; without it none can be.
  constructor(id, chosen) {
    this.host = at(id);
    this.readout = at(`${id}-readout`);
    this.axis = at(`${id}-axis`);
    this.chosen = chosen;
    this.choice = null;
    this.host.addEventListener("keydown", (event) => this.pressed(event));
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.told && this.show(this.told, this.label));
  }

  size() {
    return { width: this.host.clientWidth, height: Math.max(240, Math.min(340, this.host.clientWidth * 0.5)) };
  }

  show(told, label) {
    this.told = told;
    this.label = label;
    this.first = days.number(told.start);
    this.count = told.flow.length;
    this.host.setAttribute("aria-label", label);
    this.axis.textContent = `River flow [mm/day]. Rain hangs from above, highest bar ${words.number(highest(told.rain), 0)} mm/day.`;
    const kept = this.plot?.cursor.idx;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), this.columns(), this.host);
    this.readout.textContent = "";
    if (kept !== null && kept !== undefined && kept < this.count && document.activeElement === this.host) this.point(kept);
  }

  quantile(level) {
    const { levels, quantiles } = this.told;
    const row = levels ? levels.findIndex((one) => Math.abs(one - level) < 1e-6) : -1;
    return row < 0 ? Array(this.count).fill(null) : quantiles[row];
  }

  columns() {
    const seconds = Array.from({ length: this.count }, (_, k) => (this.first + k) * SECONDS);
    const mean = this.told.mean ?? Array(this.count).fill(null);
    return [seconds, this.told.rain, ...LEVELS.map((level) => this.quantile(level)), this.told.flow, mean];
  }

  options() {
    const line = highest(this.told.flow, this.told.mean ?? []) || 1;
    const top = 1.2 * Math.max(line, Math.min(MOST_TAIL * line, highest(this.quantile(0.95))));
    const wettest = highest(this.told.rain) || 1;
    const ink = { stroke: colour("--soft"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule") } };
    const edge = { stroke: undefined, width: 0, points: { show: false } };
    const dots = (name) => ({ show: true, size: 5, fill: colour(name), filter: (plot, row) => lone(plot.data[row]) });
    const bars = uPlot.paths.bars({ size: [0.8, 40] });
    return {
      ...this.size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      legend: { show: false },
      cursor: { drag: { x: Boolean(this.chosen), y: false, setScale: false }, y: false },
      scales: {
        x: { time: true, range: () => [(this.first - 0.5) * SECONDS, (this.first + this.count - 0.5) * SECONDS] },
        y: { range: () => [0, top] },
        rain: { dir: -1, range: () => [0, wettest / RAIN_SHARE] },
      },
      axes: [{ ...ink, space: 58, values: (_, splits, __, ___, step) => ticks(splits, step) }, { ...ink, size: 44 }],
      series: [
        {},
        { scale: "rain", fill: colour("--rain"), width: 0, paths: bars, points: { show: false } },
        ...LEVELS.map(() => edge),
        { stroke: colour("--ink"), width: 1.3, points: dots("--ink") },
        { stroke: colour("--water"), width: 2.2, points: dots("--water") },
      ],
      bands: [
        { series: [5, 2], fill: colour("--wide") },
        { series: [4, 3], fill: colour("--narrow") },
      ],
      hooks: {
        ready: [(plot) => this.chosen && this.touched(plot)],
        drawClear: [(plot) => this.shade(plot)],
        setCursor: [(plot) => this.read(plot.cursor.idx)],
        setSelect: [(plot) => this.selected(plot)],
      },
    };
  }

  // Hidden days as ground, the issue day as a line.
  shade(plot) {
    const { ctx, bbox } = plot;
    const x = (day) => plot.valToPos(day * SECONDS, "x", true);
    ctx.save();
    ctx.fillStyle = colour("--hidden-ground");
    for (const [from, to] of this.told.hidden ?? []) {
      const [left, right] = [x(days.number(from) - 0.5), x(days.number(to) + 0.5)];
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
    }
    if (this.told.issue) {
      ctx.strokeStyle = colour("--chosen");
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(x(days.number(this.told.issue) + 0.5), bbox.top);
      ctx.lineTo(x(days.number(this.told.issue) + 0.5), bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  read(k) {
    if (k === null || k === undefined) return;
    const { rain, flow, mean } = this.told;
    const parts = [`${days.words(days.text(this.first + k))}: rain ${words.number(rain[k], 1)}`, `measured ${words.number(flow[k])}`];
    if (mean && mean[k] !== null) {
      const [low, high] = [this.quantile(0.05)[k], this.quantile(0.95)[k]];
      parts.push(`answered ${words.number(mean[k])} (90 %: ${words.number(low)} to ${words.number(high)})`);
    }
    this.readout.textContent = `${parts.join(", ")} mm/day`;
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (!this.chosen || width < 4) return;
    const [from, to] = [plot.posToIdx(left), plot.posToIdx(left + width)];
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.choose(from, to);
  }

  choose(from, to) {
    this.choice = null;
    this.chosen(days.text(this.first + Math.min(from, to)), days.text(this.first + Math.max(from, to)));
  }

  // uPlot follows the mouse alone: a finger that moves sideways chooses days, one that moves up or down scrolls the page.
  touched(plot) {
    const place = (event) => Math.min(Math.max(event.clientX - plot.over.getBoundingClientRect().left, 0), plot.over.clientWidth);
    let from = null;
    plot.over.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse") return;
      from = place(event);
      plot.over.setPointerCapture(event.pointerId);
    });
    plot.over.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const to = place(event);
      plot.setCursor({ left: to, top: 1 });
      this.mark(plot, from, to);
    });
    plot.over.addEventListener("pointercancel", () => {
      from = null;
      this.mark(plot, 0, 0);
    });
    plot.over.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const [left, right] = [Math.min(from, place(event)), Math.max(from, place(event))];
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
    this.at = k;
    this.read(k);
  }

  pressed(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -1e6, End: 1e6 }[event.key];
    if (!this.plot) return;
    if (step) {
      event.preventDefault();
      const from = this.at ?? (step > 0 ? -1 : this.count);
      const to = Math.min(Math.max(from + step, 0), this.count - 1);
      if (event.shiftKey && this.chosen) this.choice ??= Math.min(Math.max(from, 0), this.count - 1);
      if (!event.shiftKey) this.choice = null;
      this.point(to);
      this.outline();
    } else if (event.key === "Enter" && this.choice !== null && this.choice !== undefined) {
      event.preventDefault();
      this.choose(this.choice, this.at);
    } else if (event.key === "Escape") {
      this.choice = null;
      this.outline();
    }
  }

  outline() {
    if (this.choice === null) return this.mark(this.plot, 0, 0);
    const x = (k) => this.plot.valToPos((this.first + k) * SECONDS, "x");
    const [low, high] = [Math.min(this.choice, this.at), Math.max(this.choice, this.at)];
    this.mark(this.plot, x(low - 0.5), x(high + 0.5));
    return undefined;
  }
}
