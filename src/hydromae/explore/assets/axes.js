"use strict";
// Axes of charts of flow: time, and flow in the units shown, linear or logarithmic, with lines of thresholds.

const SECONDS = 86400;
const RAIN_SHARE = 0.3; // height of the highest rain as a share of the chart
const MAX_EXTENSION = 1.6; // maximum extension of the axis for an interval, relative to the highest line
const THRESHOLD_REACH = 1.8; // maximum extension of a linear axis for the 2-year flood, relative to the highest line
const LOG_RANGE = 1e5; // maximum range of a logarithmic axis
const LEVELS = [0.05, 0.25, 0.75, 0.95];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const highest = (...rows) => Math.max(0, ...rows.flat().filter((value) => value !== null));

// Indices of isolated values, which a line does not show.
const isolated = (row) => row.flatMap((value, k) => (value !== null && (row[k - 1] ?? null) === null && (row[k + 1] ?? null) === null ? [k] : []));

// Labels of the time axis: days of a month, or months with the year at its start.
function ticks(splits, step) {
  const part = (seconds, form) => new Intl.DateTimeFormat("en-GB", { ...form, timeZone: "UTC" }).format(seconds * 1e3);
  if (step < 28 * SECONDS) return splits.map((seconds) => part(seconds, { day: "numeric", month: "short" }));
  const year = (seconds) => part(seconds, { year: "numeric" });
  return splits.map((seconds, k) => {
    const begins = k === 0 || year(seconds) !== year(splits[k - 1]);
    return part(seconds, { month: "short" }) + (begins ? `\n${year(seconds)}` : "");
  });
}

const scaled = (row, factor) => (factor === 1 ? row : row.map((value) => (value === null ? null : value * factor)));

// Range of a flow axis. `rows` are lines, `more` may extend a linear axis, `levels` are thresholds; all in the units shown.
function flowRange(rows, more, levels) {
  const line = highest(...rows) || 1;
  const floods = levels.filter((level) => level.above).map((level) => level.flow);
  if (display.axis === "log") {
    const positive = [...rows, ...more].flat().filter((value) => value !== null && value > 0);
    const lowest = Math.min(...positive, ...levels.map((level) => level.flow).filter((flow) => flow > 0), line);
    const top = 1.5 * Math.max(line, highest(...more), ...floods);
    const foot = Math.max(lowest / 1.2, top / LOG_RANGE);
    const decade = 10 ** Math.floor(Math.log10(foot));
    return [Math.floor(foot / decade) * decade, top]; // ticks count from the foot
  }
  const extended = Math.max(line, Math.min(MAX_EXTENSION * line, highest(...more)), ...floods.filter((flow) => flow <= THRESHOLD_REACH * line));
  return [0, 1.2 * extended];
}

// Scale and axis of flow, linear or logarithmic.
function flowAxis([low, top], ink) {
  const log = display.axis === "log";
  const text = (value) => (value === null ? "" : format.flow(value, true));
  return {
    scale: log ? { distr: 3, log: 10, range: () => [low, top] } : { range: () => [0, top] },
    axis: { ...ink, size: 52, values: (_, splits) => splits.map(text) },
  };
}

// On a logarithmic axis, values below its foot lie on it.
const onAxis = (row, [low]) => (display.axis === "log" ? row.map((value) => (value === null ? null : Math.max(value, low))) : row);

// Thresholds in the units shown, those that exist and are switched on.
function shownLevels(thresholds, factor) {
  if (!display.lines || !thresholds) return [];
  return thresholds.levels.filter((level) => level.flow !== null).map((level) => ({ ...level, flow: level.flow * factor }));
}

// Dashed lines of thresholds, with their names where they do not overlap.
function drawLevels(plot, levels, [low, top], named = true) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  let last = Infinity;
  for (const level of [...levels].sort((a, b) => a.flow - b.flow)) {
    if (level.flow < low || level.flow > top) continue;
    const y = plot.valToPos(level.flow, "y", true);
    ctx.strokeStyle = colour(level.above ? "--flood" : "--low");
    ctx.lineWidth = 1.3 * ratio;
    ctx.setLineDash([6 * ratio, 4 * ratio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    if (!named || last - y < 13 * ratio) continue;
    last = y;
    ctx.setLineDash([]);
    ctx.lineWidth = 4 * ratio;
    ctx.lineJoin = "round";
    ctx.strokeStyle = colour("--paper");
    ctx.fillStyle = colour(level.above ? "--flood" : "--low");
    const at = [level.title, bbox.left + bbox.width - 4 * ratio, y - 2 * ratio];
    ctx.strokeText(...at);
    ctx.fillText(...at);
  }
  ctx.restore();
}

const axisInk = () => ({ stroke: colour("--soft"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule") } });
