"use strict";
// What is said about an answer: its score, its numbers day by day, the neighbours it used; and the maps of a day.

const RAMP = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
// cividis (Nuñez, Anderton and Renslow 2018), even for colour-blind eyes

const panels = {
  facts(record, k) {
    const area = record.area[k] === null ? "" : `${words.number(record.area[k], 0)} km², `;
    const scores = (record.scores?.questions ?? [])
      .filter((one) => one.nse[k] !== null)
      .map((one) => `${one.title.toLowerCase()}: ${words.number(one.nse[k])}`);
    const scored = scores.length ? ` NSE of ${record.scores.method} over all scored days, ${scores.join("; ")}.` : "";
    return `${area}measured on ${words.share(record.observed[k])} of the days from ${days.words(record.start)} to ${days.words(record.end)}.${scored}`;
  },

  // What an answer is worth, beside what is known without a model: a line across the gap, or the flow of the issue day.
  score(told, asked, plain, withNse) {
    const { score, inputs, seconds } = told;
    const cost = `From ${words.count(inputs.rivers, "river")} and ${words.count(inputs.days, "day")}, in ${words.number(seconds, 1)} s.`;
    if (!score.days) return `${asked} Nothing was measured there to compare with. ${cost}${panels.outside(told)}`;
    const nse = score.nse === null ? "NSE has no meaning here (flow did not vary)" : `NSE ${words.number(score.nse)}`;
    const error = `mean error ${words.number(score.error)} mm/day (${plain}: ${words.number(score.line)})`;
    const over = ` over ${words.count(score.days, "day")}`;
    const good = withNse ? `${nse}${over}, ${error}` : `${error[0].toUpperCase()}${error.slice(1)}${over}`;
    const inside = `the 90 % interval holds ${words.share(score.coverage90)} of them, the 50 % interval ${words.share(score.coverage50)}`;
    return `${asked} ${good}; ${inside}. ${cost}${told.seen ? ` ${told.seen}` : ""}${panels.outside(told)}`;
  },

  outside(told) {
    return told.outside ? ` Outside the training of the model: ${told.outside}.` : "";
  },

  hidden(told) {
    const stretches = told.hidden.map(words.stretch).join(", ");
    if (stretches) return panels.score(told, `Hidden: ${stretches}.`, "a straight line", true);
    const answered = told.mean.filter((value) => value !== null).length;
    return answered ? `Nothing is hidden. ${words.count(answered, "day")} without a measurement answered.${panels.outside(told)}` : "Nothing is hidden.";
  },

  // NSE of ten days of a falling river says nothing, so it is left out.
  ahead(told) {
    const asked = `Issued on ${days.words(told.issue)} for ${words.count(told.ahead, "day")}.`;
    return panels.score(told, asked, "flow staying as it was", false);
  },

  numbers(table, told) {
    const row = (level) => told.quantiles[told.levels.findIndex((one) => Math.abs(one - level) < 1e-6)];
    const [low, high] = [row(0.05), row(0.95)];
    const first = days.number(told.start);
    const rows = told.mean
      .map((mean, k) => (mean === null ? null : [k, mean]))
      .filter((one) => one !== null)
      .map(([k, mean]) => [days.text(first + k), words.number(told.flow[k]), words.number(mean), words.number(low[k]), words.number(high[k])]);
    fillTable(table, ["Day", "Measured", "Answered", "5 %", "95 %"], rows);
    return rows.length;
  },

  neighbours(told, map, choose) {
    const weighted = told.neighbours.some((one) => one.weight !== null);
    at("near-words").textContent =
      `The ${told.neighbours.length} nearest gauges: the model sees their flow of the same day where it was measured. ` +
      (told.hidden.length ? "“There” is the share of the hidden days on which that was so. " : "“There” is the share of these days on which that was so. ") +
      (weighted ? "“Weight” is their share in the model's own average of neighbours by distance and traits, the first of several ways in which it uses them." : "");
    const rows = told.neighbours.map((one) => {
      const k = map.record.river.indexOf(one.river);
      const link = made("button", map.label(k), { type: "button", class: "plain" });
      link.addEventListener("click", () => choose(k));
      const cells = [link, `${words.number(one.distance, 0)} km`, words.share(one.observed)];
      return weighted ? [...cells, words.share(one.weight)] : cells;
    });
    fillTable(at("near").querySelector("table"), ["Gauge", "Away", "There", ...(weighted ? ["Weight"] : [])], rows);
    map.link(told.neighbours.filter((one) => one.observed > 0).map((one) => one.river));
  },

  maps(told) {
    const known = [...told.truth, ...told.restored].filter((value) => value !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const gone = told.restored.map((value) => value !== null);
    const pictures = [
      ["As it was", told.truth],
      ["What the model saw", told.truth.map((value, k) => (gone[k] ? null : value))],
      ["Restored", told.truth.map((value, k) => (gone[k] ? told.restored[k] : value))],
    ];
    at("pictures").replaceChildren(...pictures.map(([title, values]) => picture(told, title, values, low, high)));
    const scale = made("figure");
    const bar = made("div", "", { class: "scale" });
    bar.style.background = `linear-gradient(to right, ${RAMP.join(", ")})`;
    scale.append(bar, made("figcaption", `${words.number(low, 1)} to ${words.number(high, 1)} ${words.units(told.units)}`));
    at("pictures").append(scale);
    return (
      `${told.variable.replace("_", " ")} on ${days.words(told.day)}: ${words.count(told.hidden.length, "patch").replace("patchs", "patches")} hidden. ` +
      `Mean error there ${words.number(told.error)} ${words.units(told.units)}; the mean of what was seen would err by ${words.number(told.spread)}. ` +
      `In ${words.number(told.seconds, 1)} s.`
    );
  },
};

function picture(told, title, values, low, high) {
  const canvas = made("canvas", undefined, { role: "img", "aria-label": `${title}: map of ${told.variable}` });
  [canvas.width, canvas.height] = [told.columns, told.rows];
  const pen = canvas.getContext("2d");
  values.forEach((value, k) => {
    pen.fillStyle = value === null ? colour("--rule") : shade((value - low) / (high - low || 1));
    pen.fillRect(told.column[k], told.row[k], 1, 1);
  });
  const figure = made("figure");
  figure.append(made("figcaption", title), canvas);
  return figure;
}

function shade(share) {
  return RAMP[Math.min(RAMP.length - 1, Math.floor(share * RAMP.length))];
}
