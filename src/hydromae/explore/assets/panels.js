"use strict";
// Texts and tables of a response: score, methods, thresholds, daily numbers, neighbours, and maps of a day.

const MIN_NSE_DAYS = 30; // as in hydromae evaluate
const RAMP = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
// cividis (Nuñez, Anderton and Renslow 2018), safe for colour-blind readers

const panels = {
  facts(record, k, station) {
    const size = record.area[k] === null ? "" : `${format.number(record.area[k], 0)} km², `;
    const scores = (record.scores?.questions ?? [])
      .filter((one) => one.nse[k] !== null)
      .map((one) => `${one.title.toLowerCase()}: ${format.number(one.nse[k])}`);
    const scored = scores.length ? ` NSE of ${record.scores.method} over all scored days, ${scores.join("; ")}.` : "";
    const text = `${size}observed on ${format.share(record.observed[k])} of the days from ${days.words(record.start)} to ${days.words(record.end)}.${scored} `;
    byId("facts").replaceChildren(text);
    if (station.nrfa) byId("facts").append(create("a", "Its page at the National River Flow Archive", { href: station.nrfa, target: "_blank", rel: "noopener noreferrer" }), ".");
  },

  // Score of a prediction beside that of a simple reference. NSE of few days is mostly chance.
  score(response, description, area, withNse) {
    const { score, inputs, seconds, baselines } = response;
    const cost = `From this river and ${panels.neighbourCount(inputs)}, ${format.count(inputs.days, "day")}, in ${format.number(seconds, 1)} s.`;
    if (!score.days) return `${description} Without observations to compare. ${cost}${panels.outside(response)}`;
    const { factor, units } = flowScale(area);
    const reference = baselines[0]?.error === null || !baselines.length ? "" : ` (${baselines[0].title.toLowerCase()}: ${format.flow(baselines[0].error * factor)})`;
    const error = `mean error ${format.flow(score.error * factor)} ${units}${reference}`;
    const over = ` over ${format.count(score.days, "day")}`;
    const good = withNse && score.days >= MIN_NSE_DAYS ? `${panels.nse(score)}${over}, ${error}` : `${error[0].toUpperCase()}${error.slice(1)}${over}`;
    const coverage = `coverage of the 90 % interval ${format.share(score.coverage90)}, of the 50 % interval ${format.share(score.coverage50)}`;
    return `${description} ${good}; ${coverage}. ${cost}${response.seen ? ` ${response.seen}` : ""}${panels.outside(response)}`;
  },

  nse: (score) => (score.nse === null ? "NSE is undefined (constant flow)" : `NSE ${format.number(score.nse)}`),

  neighbourCount: (inputs) => format.count(inputs.rivers - 1, "neighbour"),

  outside(response) {
    return response.outside ? ` Outside the training range of the model: ${response.outside}.` : "";
  },

  hidden(response, area) {
    const periods = response.hidden.map(format.period).join(", ");
    if (periods) return panels.score(response, `Hidden: ${periods}.`, area, true);
    const predicted = response.mean.filter((value) => value !== null).length;
    return predicted ? `Nothing is hidden. ${format.count(predicted, "day")} without an observation predicted.${panels.outside(response)}` : "Nothing is hidden.";
  },

  // Without NSE, which has no meaning for ten days of recession.
  forecast(response, area) {
    const description = `Issued on ${days.words(response.issue)} for ${format.count(response.ahead, "day")}.`;
    return panels.score(response, description, area, false);
  },

  // The model beside baselines on the hidden days.
  methods(box, response, area) {
    const { score, baselines } = response;
    box.hidden = !score?.days;
    if (box.hidden) return;
    const { factor, units } = flowScale(area);
    const error = (one) => format.flow(one.error === null ? null : one.error * factor);
    const nse = (one) => (one.days < MIN_NSE_DAYS ? `fewer than ${MIN_NSE_DAYS} days` : format.number(one.nse));
    const rows = [
      [record.model, nse(score), error(score), format.share(score.coverage90), String(score.days)],
      ...baselines.map((one) => [one.title, nse(one), error(one), "–", String(one.days)]),
    ];
    fillTable(box.querySelector("table"), ["On the hidden days", "NSE", `Mean error [${units}]`, "In the 90 % interval", "Days"], rows);
  },

  // Thresholds of a river, and the chance to pass them on the predicted days of a response.
  thresholds(box, thresholds, response, area) {
    const { factor, units } = flowScale(area);
    const first = days.number(response.start);
    const text = (flow) => format.flow(flow * factor);
    const rows = thresholds.levels.map((level) => {
      const chance = (response.chances ?? []).find((one) => one.key === level.key);
      const flow = level.flow === null ? level.refused : text(level.flow);
      const interval = level.interval ? `${text(level.interval[0])} to ${text(level.interval[1])}` : "–";
      if (!chance) return [level.title, flow, interval, "–", "–", "–"];
      const highestChance = Math.max(...chance.by_day.filter((one) => one !== null));
      const day = days.words(days.text(first + chance.by_day.indexOf(highestChance)));
      const most = highestChance < 0.005 ? "below 1 %" : `${format.share(highestChance)} on ${day}`;
      return [`${level.title} (${level.above ? "above" : "below"})`, flow, interval, most, format.number(chance.expected, 1), String(chance.observed)];
    });
    fillTable(box.querySelector("table"), ["Threshold", `Flow [${units}]`, "90 % interval", "Highest chance of a day", "Days expected", "Days observed"], rows);
  },

  station(box, station) {
    const units = { degrees_north: "° N", degrees_east: "° E", 1: "", km2: "km²", "m km-1": "m/km" };
    const rows = station.attributes.map((one) => [one.name, one.value === null ? "unknown" : `${one.value} ${units[one.units] ?? one.units}`.trim()]);
    fillTable(box.querySelector("table"), ["Attribute", "Value"], rows);
  },

  numbers(table, response, area) {
    const row = (level) => response.quantiles[response.levels.findIndex((one) => Math.abs(one - level) < 1e-6)];
    const [low, high] = [row(0.05), row(0.95)];
    const first = days.number(response.start);
    const { factor, units } = flowScale(area);
    const text = (value) => format.flow(value === null ? null : value * factor);
    const rows = response.mean
      .map((mean, k) => (mean === null ? null : [k, mean]))
      .filter((one) => one !== null)
      .map(([k, mean]) => [days.text(first + k), text(response.flow[k]), text(mean), text(low[k]), text(high[k])]);
    fillTable(table, [`Day [${units}]`, "Observed", "Predicted", "5 %", "95 %"], rows);
    return rows.length;
  },

  // `choose(k)` shows a river; `compare(river)` shows it beside the chosen one; null where it cannot.
  neighbours(response, map, choose, compare) {
    const weighted = response.neighbours.some((one) => one.weight !== null);
    const { length } = response.neighbours;
    const all = response.inputs.rivers - 1;
    byId("near-words").textContent =
      `${all > length ? `The ${length} nearest of the ${all} neighbours` : `The ${format.count(length, "neighbour")}`}: the model uses their observed flow of the same day. ` +
      (response.hidden.length ? "“Observed” is the observed share of the hidden days. " : "“Observed” is the observed share of these days. ") +
      (weighted ? "“Weight” is their weight in the donor estimate of the model, from distance and static attributes." : "");
    const rows = response.neighbours.map((one) => {
      const k = map.record.river.indexOf(one.river);
      const link = create("button", map.label(k), { type: "button", class: "plain" });
      link.addEventListener("click", () => choose(k));
      const cells = [link, `${format.number(one.distance, 0)} km`, format.share(one.observed)];
      if (weighted) cells.push(format.share(one.weight));
      if (compare) {
        const button = create("button", "Compare", { type: "button", class: "plain", "aria-label": `Compare ${map.label(k)}` });
        button.addEventListener("click", () => compare(one.river));
        cells.push(button);
      }
      return cells;
    });
    fillTable(byId("near").querySelector("table"), ["Gauge", "Distance", "Observed", ...(weighted ? ["Weight"] : []), ...(compare ? ["Beside"] : [])], rows);
    map.link(response.neighbours.filter((one) => one.observed > 0).map((one) => one.river));
  },

  maps(response) {
    const known = [...response.truth, ...response.restored].filter((value) => value !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const isHidden = response.restored.map((value) => value !== null);
    const pictures = [
      ["Observed", response.truth],
      ["Input of the model", response.truth.map((value, k) => (isHidden[k] ? null : value))],
      ["Predicted", response.truth.map((value, k) => (isHidden[k] ? response.restored[k] : value))],
    ];
    byId("pictures").replaceChildren(...pictures.map(([title, values]) => picture(response, title, values, low, high)));
    const scale = create("figure");
    const bar = create("div", "", { class: "scale" });
    bar.style.background = `linear-gradient(to right, ${RAMP.join(", ")})`;
    scale.append(bar, create("figcaption", `${format.flow(low, true)} to ${format.flow(high, true)} ${format.units(response.units)}`));
    byId("pictures").append(scale);
    return (
      `${response.variable.replace("_", " ")} on ${days.words(response.day)}: ${format.count(response.hidden.length, "patch").replace("patchs", "patches")} hidden. ` +
      `Mean error there ${format.flow(response.error)} ${format.units(response.units)}; that of the mean of the visible cells ${format.flow(response.spread)}. ` +
      `In ${format.number(response.seconds, 1)} s.`
    );
  },
};

function picture(response, title, values, low, high) {
  const canvas = create("canvas", undefined, { role: "img", "aria-label": `${title}: map of ${response.variable}` });
  [canvas.width, canvas.height] = [response.columns, response.rows];
  const pen = canvas.getContext("2d");
  values.forEach((value, k) => {
    pen.fillStyle = value === null ? colour("--rule") : shade((value - low) / (high - low || 1));
    pen.fillRect(response.column[k], response.row[k], 1, 1);
  });
  const figure = create("figure");
  figure.append(create("figcaption", title), canvas);
  return figure;
}

function shade(share) {
  return RAMP[Math.min(RAMP.length - 1, Math.floor(share * RAMP.length))];
}
