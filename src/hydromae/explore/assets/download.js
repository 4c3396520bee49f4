"use strict";
// Files of what a chart shows: a table (CSV) in the units shown, and a picture (PNG).

const download = {
  // Columns as in tables of hydromae: time, catchment, weather, flow with its units; hidden is 1 on days hidden from the model.
  table(chart) {
    const { response, scale, first, count } = chart;
    const { flow, mean, quantiles, baseline } = chart.rows();
    const levels = LEVELS.map((level) => `predicted_q${String(100 * level).padStart(2, "0")} [${scale.cf}]`);
    const beside = chart.baseline();
    const heads = ["time", "catchment", "precipitation [mm day-1]", `riverflow [${scale.cf}]`, "hidden", `predicted [${scale.cf}]`, ...levels];
    if (beside) heads.push(`${beside.name} [${scale.cf}]`);
    const isHidden = new Set((response.hidden ?? []).flatMap(([from, to]) => days.between(from, to)));
    const issue = response.issue ? days.number(response.issue) : Infinity;
    const text = (value) => (value === null || value === undefined ? "" : String(Number(value.toPrecision(6))));
    const line = (k) => {
      const hidden = isHidden.has(first + k) || first + k > issue ? "1" : "0";
      const cells = [days.text(first + k), csvCell(response.river), text(response.rain[k]), text(flow[k]), hidden, text(mean[k])];
      cells.push(...quantiles.map((row) => text(row[k])));
      if (beside) cells.push(text(baseline[k]));
      return cells.join(",");
    };
    const lines = [heads.join(","), ...Array.from({ length: count }, (_, k) => line(k))];
    save(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }), `${fileName(chart)}.csv`);
  },

  // The chart under its title, above the key and the source of the data.
  picture(chart, title, source) {
    const plot = chart.plot.ctx.canvas;
    const ratio = devicePixelRatio;
    const [margin, line] = [12 * ratio, 18 * ratio];
    const canvas = create("canvas");
    const pen = canvas.getContext("2d");
    const small = `${11 * ratio}px system-ui, sans-serif`;
    pen.font = small;
    const width = plot.width + 2 * margin;
    const below = [...wrapped(pen, keyText(chart), width - 2 * margin), ...wrapped(pen, source, width - 2 * margin)];
    [canvas.width, canvas.height] = [width, plot.height + (below.length + 3) * line + margin];
    pen.fillStyle = colour("--paper");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.fillStyle = colour("--ink");
    pen.font = `600 ${14 * ratio}px system-ui, sans-serif`;
    pen.fillText(title, margin, 1.2 * line, canvas.width - 2 * margin);
    pen.font = small;
    pen.fillStyle = colour("--soft");
    pen.fillText(chart.axis.textContent, margin, 2.2 * line, canvas.width - 2 * margin);
    pen.drawImage(plot, margin, 2.5 * line);
    below.forEach((text, n) => pen.fillText(text, margin, plot.height + (3.5 + n) * line));
    canvas.toBlob((blob) => save(blob, `${fileName(chart)}.png`), "image/png");
  },
};

function keyText(chart) {
  const baseline = chart.baseline();
  const shaded = chart.response.issue ? "line: issue day" : "shaded: hidden from the model";
  return `Black: observed. Blue: predicted mean with 50 % and 90 % intervals; ${shaded}.${baseline ? ` Dotted: ${baseline.title.toLowerCase()}.` : ""}${chart.levels.length ? " Dashed: thresholds." : ""}`;
}

function wrapped(pen, text, width) {
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && pen.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

// A text as a cell of a CSV file.
const csvCell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

const fileName = (chart) => {
  const { river, start, end, issue } = chart.response;
  return `${river.replace(/[^\w-]+/g, "_")}_${issue ? `forecast_${issue}` : `${start}_${end}`}`;
};

function save(blob, file) {
  const link = create("a", undefined, { href: URL.createObjectURL(blob), download: file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
