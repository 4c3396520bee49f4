"use strict";
// Texts and tables of a response: score, daily numbers, neighbours, and maps of a day.

const RAMP = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
// cividis (Nuñez, Anderton and Renslow 2018), safe for colour-blind readers

const panels = {
  facts(record, k) {
    const area = record.area[k] === null ? "" : `${format.number(record.area[k], 0)} km², `;
    const scores = (record.scores?.questions ?? [])
      .filter((one) => one.nse[k] !== null)
      .map((one) => `${one.title.toLowerCase()}: ${format.number(one.nse[k])}`);
    const scored = scores.length ? ` NSE of ${record.scores.method} over all scored days, ${scores.join("; ")}.` : "";
    return `${area}observed on ${format.share(record.observed[k])} of the days from ${days.words(record.start)} to ${days.words(record.end)}.${scored}`;
  },

  // Score of a prediction, and of a simple reference: linear interpolation, or persistence of the flow of the issue day.
  score(response, description, reference, withNse) {
    const { score, inputs, seconds } = response;
    const cost = `From ${format.count(inputs.rivers, "river")} and ${format.count(inputs.days, "day")}, in ${format.number(seconds, 1)} s.`;
    if (!score.days) return `${description} Without observations to compare. ${cost}${panels.outside(response)}`;
    const nse = score.nse === null ? "NSE is undefined (constant flow)" : `NSE ${format.number(score.nse)}`;
    const error = `mean error ${format.number(score.error)} mm/day (${reference}: ${format.number(score.line)})`;
    const over = ` over ${format.count(score.days, "day")}`;
    const good = withNse ? `${nse}${over}, ${error}` : `${error[0].toUpperCase()}${error.slice(1)}${over}`;
    const coverage = `coverage of the 90 % interval ${format.share(score.coverage90)}, of the 50 % interval ${format.share(score.coverage50)}`;
    return `${description} ${good}; ${coverage}. ${cost}${response.seen ? ` ${response.seen}` : ""}${panels.outside(response)}`;
  },

  outside(response) {
    return response.outside ? ` Outside the training range of the model: ${response.outside}.` : "";
  },

  hidden(response) {
    const periods = response.hidden.map(format.period).join(", ");
    if (periods) return panels.score(response, `Hidden: ${periods}.`, "linear interpolation", true);
    const predicted = response.mean.filter((value) => value !== null).length;
    return predicted ? `Nothing is hidden. ${format.count(predicted, "day")} without an observation predicted.${panels.outside(response)}` : "Nothing is hidden.";
  },

  // Without NSE, which has no meaning for ten days of recession.
  forecast(response) {
    const description = `Issued on ${days.words(response.issue)} for ${format.count(response.ahead, "day")}.`;
    return panels.score(response, description, "persistence", false);
  },

  numbers(table, response) {
    const row = (level) => response.quantiles[response.levels.findIndex((one) => Math.abs(one - level) < 1e-6)];
    const [low, high] = [row(0.05), row(0.95)];
    const first = days.number(response.start);
    const rows = response.mean
      .map((mean, k) => (mean === null ? null : [k, mean]))
      .filter((one) => one !== null)
      .map(([k, mean]) => [days.text(first + k), format.number(response.flow[k]), format.number(mean), format.number(low[k]), format.number(high[k])]);
    fillTable(table, ["Day", "Observed", "Predicted", "5 %", "95 %"], rows);
    return rows.length;
  },

  neighbours(response, map, choose) {
    const weighted = response.neighbours.some((one) => one.weight !== null);
    byId("near-words").textContent =
      `The ${response.neighbours.length} nearest gauges: the model uses their observed flow of the same day. ` +
      (response.hidden.length ? "“Observed” is the observed share of the hidden days. " : "“Observed” is the observed share of these days. ") +
      (weighted ? "“Weight” is their weight in the donor estimate of the model, from distance and static attributes." : "");
    const rows = response.neighbours.map((one) => {
      const k = map.record.river.indexOf(one.river);
      const link = create("button", map.label(k), { type: "button", class: "plain" });
      link.addEventListener("click", () => choose(k));
      const cells = [link, `${format.number(one.distance, 0)} km`, format.share(one.observed)];
      return weighted ? [...cells, format.share(one.weight)] : cells;
    });
    fillTable(byId("near").querySelector("table"), ["Gauge", "Distance", "Observed", ...(weighted ? ["Weight"] : [])], rows);
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
    scale.append(bar, create("figcaption", `${format.number(low, 1)} to ${format.number(high, 1)} ${format.units(response.units)}`));
    byId("pictures").append(scale);
    return (
      `${response.variable.replace("_", " ")} on ${days.words(response.day)}: ${format.count(response.hidden.length, "patch").replace("patchs", "patches")} hidden. ` +
      `Mean error there ${format.number(response.error)} ${format.units(response.units)}; that of the mean of the visible cells ${format.number(response.spread)}. ` +
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
