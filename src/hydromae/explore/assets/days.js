"use strict";
// Days as numbers (since 1970-01-01), as text (2014-02-12) and as dates for people; formats of numbers; elements.

const days = {
  number: (text) => Math.round(Date.parse(`${text}T00:00:00Z`) / 864e5),
  text: (number) => new Date(number * 864e5).toISOString().slice(0, 10),
  plus: (text, count) => days.text(days.number(text) + count),
  words: (text) =>
    new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" }).format(
      days.number(text) * 864e5,
    ),
  between: (from, to) => {
    const first = days.number(from);
    return Array.from({ length: days.number(to) - first + 1 }, (_, k) => first + k);
  },
};

const format = {
  number: (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−")),
  // Flow, or a value of a map, with three significant digits; `plain` without trailing zeros.
  flow: (value, plain = false) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 || size === 0 ? 2 : size >= 0.1 ? 3 : 4;
    const text = value.toFixed(digits).replace("-", "−");
    return plain && text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  },
  share: (value) => (value === null || value === undefined ? "–" : `${Math.round(100 * value)} %`),
  count: (count, one) => `${count.toLocaleString("en-GB")} ${one}${count === 1 ? "" : "s"}`,
  units: (text) => text.replace(" day-1", "/day").replace("m3 m-3", "m³/m³").replace("degC", "°C"),
  period: ([from, to]) => (from === to ? days.words(from) : `${days.words(from)} to ${days.words(to)}`),
};

const byId = (id) => document.getElementById(id);

function create(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function fillTable(table, heads, rows) {
  const line = (cells, first) => {
    const row = create("tr");
    cells.forEach((cell, k) => {
      const box = create(k === 0 || first ? "th" : "td", undefined, k === 0 || first ? { scope: first ? "col" : "row" } : {});
      box.append(cell);
      row.append(box);
    });
    return row;
  };
  table.tHead.replaceChildren(line(heads, true));
  table.tBodies[0].replaceChildren(...rows.map((cells) => line(cells, false)));
}
