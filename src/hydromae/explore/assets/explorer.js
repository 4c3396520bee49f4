"use strict";
// State and events of the page: river, days, hidden days, issue day, switches, the address, and requests.

const state = { k: -1, start: null, end: null, hidden: [], issue: null, issues: [], weather: "observed", also: [], picture: null };
const latest = { station: null, answer: null, forecast: null };
let record, map, search;
const chartParts = (id) => ({ host: byId(id), axis: byId(`${id}-axis`), readout: byId(`${id}-readout`) });
const hydrograph = new Hydrograph(chartParts("hydrograph"), (from, to) => hide(from, to));
const forecast = new Hydrograph(chartParts("forecast"), null);
const whole = new WholeRecord(byId("whole"), byId("whole-axis"), source.live ? showYears : null, source.live ? showAround : null);
const duration = new DurationCurve(byId("duration"), byId("duration-axis"), byId("duration-words"));
const beside = new BesideRivers(byId("beside-rivers"), (name) => choose(record.river.indexOf(name)), (name) => setBeside(state.also.filter((one) => one !== name)));
const MOST_DAYS = 1100; // of a view

// One request of a kind at a time: a new one aborts the previous one.
const pending = {};
async function request(kind, message, work) {
  pending[kind]?.abort();
  const controller = (pending[kind] = new AbortController());
  const status = byId(kind);
  const timer = setTimeout(() => { if (message) status.textContent = message; }, 150);
  status.classList.add("busy");
  status.setAttribute("aria-busy", "true");
  try {
    const response = await work(controller.signal);
    if (pending[kind] !== controller) return null;
    byId("fault").hidden = true;
    return response;
  } catch (error) {
    if (error.name !== "AbortError" && pending[kind] === controller) fault(error.message);
    return null;
  } finally {
    clearTimeout(timer);
    if (pending[kind] === controller) {
      status.classList.remove("busy");
      status.removeAttribute("aria-busy");
      if (message && status.textContent === message) status.textContent = "";
    }
  }
}

function fault(message) {
  byId("fault").textContent = message;
  byId("fault").hidden = !message;
}

const river = () => record.river[state.k];
const area = () => record.area[state.k];
const title = (name) => {
  const k = record.river.indexOf(name);
  return record.name[k] ? `${record.name[k]} (${name})` : `Gauge ${name}`;
};

// Write the state into the address; a new entry of the history if `push`. While a state is restored nothing is written.
let restoring = false;
let written = null;
function remember(push = true) {
  if (restoring || state.k < 0) return;
  const { variable, day, share, draw } = state.picture ?? {};
  const other = (value, usual) => (value === usual ? "" : value);
  written = {
    river: river(),
    from: state.start,
    to: state.end,
    hide: state.hidden.map((period) => period.join("_")).join(","),
    issue: state.issue,
    weather: other(state.weather, "observed"),
    units: other(display.units, "mm"),
    axis: other(display.axis, "linear"),
    beside: other(display.beside, "interpolation"),
    lines: display.lines ? "" : "off",
    also: state.also.join(","),
    map: state.picture ? [variable, day, share, draw].join(",") : "",
    ...secondary(),
  };
  address.write(written, push);
}

// Parts that change without a new entry of the history.
function secondary() {
  const number = record.scores ? Number(byId("question").value) : 0;
  return { curve: byId("curve").open ? "open" : "", colours: number ? record.scores.questions[number].question : "", frame: map.framed() };
}

function amend(parts) {
  if (restoring || !written) return;
  written = { ...written, ...parts };
  address.write(written, false);
}

// Show the state of the address; without a river, the view that the page opens on.
async function restore() {
  const { parts, fault: message } = address.read();
  const opening = source.live && !parts.river ? record.opening : null;
  const isKnown = parts.river && (source.live || source.rivers.includes(parts.river));
  const k = record.river.indexOf(isKnown ? parts.river : opening?.river ?? source.rivers[0]);
  const isPlace = Boolean(parts.from && parts.to);
  state.weather = byId("weather").value = parts.weather ?? "observed";
  state.also = source.live ? parts.also ?? [] : [];
  state.picture = parts.map ?? null;
  setDisplay(parts);
  byId("curve").open = parts.curve === "open";
  const question = record.scores?.questions.findIndex((one) => one.question === parts.colours) ?? -1;
  if (record.scores) byId("question").value = Math.max(0, question);
  paint();
  map.frame(parts.frame ?? map.centre, parts.frame?.[2] ?? 1);
  const [start, end] = isPlace ? [parts.from, parts.to] : [opening?.start ?? null, opening?.end ?? null];
  const hidden = isPlace ? parts.hide ?? [] : opening?.hide;
  const shown = await choose(k, { follow: false, start, end, hidden, issue: parts.issue ?? null });
  if (state.k !== k) return; // another one was chosen meanwhile
  if (!shown && isPlace && latest.answer === null) await choose(k, { follow: false, start: null, end: null, hidden: [], keepFault: true });
  if (state.picture) await predictMap();
  if (message) fault(message);
}

function setDisplay(parts) {
  display.units = byId("units").value = parts.units ?? "mm";
  display.axis = byId("axis").value = parts.axis ?? "linear";
  display.beside = byId("beside").value = parts.beside ?? "interpolation";
  display.lines = byId("lines").checked = parts.lines !== "off";
}

// Show a river. `view` may have its days, hidden days and issue day; default are the days that are shown.
async function choose(k, { follow = true, start = state.start, end = state.end, hidden, issue = state.issue, keepFault = false } = {}) {
  if (!source.live && !source.rivers.includes(record.river[k])) {
    return fault(`River ${record.river[k]} is not in this file, which has ${source.rivers.join(", ")}.`);
  }
  const message = byId("fault").textContent;
  const isNew = state.k !== k;
  state.k = k;
  state.issue = issue;
  state.hidden = hidden ?? (source.live ? [] : source.gaps(river()).find((gap) => gap.length) ?? []);
  byId("river").hidden = byId("ahead").hidden = false;
  map.mark(k);
  if (isNew) map.link([]);
  byId("river-title").textContent = title(river());
  byId("keep").disabled = state.also.includes(river());
  byId("units").options[1].disabled = area() === null;
  const top = byId("river").getBoundingClientRect().top;
  if (follow && (top > 0.8 * innerHeight || top < 0)) byId("river").scrollIntoView();
  const shown = await showDays(start, end);
  if (keepFault) fault(message);
  return shown;
}

// Show days of the river, predictions of unobserved days, a forecast, and the same days of the rivers beside it.
async function showDays(start, end) {
  const name = river();
  const loaded = await request("answer", "Reading …", (signal) => Promise.all([source.river(name, start, end, signal), source.station(name, signal)]));
  if (!loaded) return false;
  const [response, station] = loaded;
  latest.station = station;
  [state.start, state.end] = [response.start, response.end];
  for (const [id, day] of [["from", response.start], ["to", response.end]]) byId(id).value = day;
  for (const id of ["hide-from", "hide-to"]) [byId(id).min, byId(id).max] = [response.start, response.end];
  state.hidden = state.hidden.filter(([from, to]) => from >= response.start && to <= response.end);
  panels.facts(record, state.k, station);
  panels.station(byId("station"), station);
  byId("thresholds-words").textContent = station.thresholds.fitted;
  hydrograph.show(response, `Hydrograph of ${title(name)}, ${format.period([response.start, response.end])}`, area(), station.thresholds);
  whole.show(station, area(), [response.start, response.end]);
  if (!response.flow.some((value) => value !== null)) fault("No flow was observed on these days: the model predicts all of them.");
  setGaps();
  setIssues();
  if (!(await answer())) return false;
  await issue();
  remember();
  await showBeside();
  return true;
}

// A view around a day, or of dragged days: at most `MOST_DAYS`, inside the record.
function showAround(day) {
  const length = days.number(state.end) - days.number(state.start);
  const first = Math.min(Math.max(days.number(day) - Math.floor(length / 2), days.number(record.start)), days.number(record.end) - length);
  showDays(days.text(Math.max(first, days.number(record.start))), days.text(first + length));
}

function showYears(from, to) {
  const first = from < record.start ? record.start : from;
  const last = to > record.end ? record.end : to;
  const most = days.plus(first, MOST_DAYS - 1);
  showDays(first, last > most ? most : last);
}

async function answer() {
  const body = { river: river(), start: state.start, end: state.end, hide: state.hidden };
  const response = await request("answer", "The model predicts …", (signal) => source.answer(body, signal));
  if (!response) return false;
  state.hidden = response.hidden;
  latest.answer = response;
  showAnswer();
  if (!source.live) byId("gap").selectedIndex = source.gaps(river()).findIndex((gap) => String(gap) === String(response.hidden));
  return true;
}

function showAnswer() {
  const { answer: response, station } = latest;
  const summary = panels.hidden(response, area());
  hydrograph.show(response, `Hydrograph of ${title(response.river)}. ${summary}`, area(), station.thresholds);
  duration.show(station, response, area());
  byId("answer").textContent = summary;
  const last = response.hidden.at(-1);
  if (last) [byId("hide-from").value, byId("hide-to").value] = last;
  byId("numbers").hidden = panels.numbers(byId("numbers").querySelector("table"), response, area()) === 0;
  panels.methods(byId("methods"), response, area());
  panels.thresholds(byId("thresholds"), station.thresholds, response, area());
  panels.neighbours(response, map, choose, source.live ? (name) => setBeside([...state.also, name]) : null);
}

async function hide(from, to) {
  const before = state.hidden;
  [byId("hide-from").value, byId("hide-to").value] = [from, to];
  if (!source.live) state.hidden = [];
  state.hidden = merged([...state.hidden, [from, to]]);
  await setHidden(before);
}

// Predict the hidden days here and in the rivers beside; a refused request hides nothing.
async function setHidden(before) {
  if (!(await answer())) state.hidden = before;
  else {
    remember();
    await showBeside();
  }
}

// Merge adjacent periods.
function merged(periods) {
  const sorted = [...periods].sort(([a], [b]) => (a < b ? -1 : 1)).map((period) => [...period]);
  return sorted.reduce((list, [from, to]) => {
    const last = list.at(-1);
    if (last && from <= days.plus(last[1], 1)) last[1] = to > last[1] ? to : last[1];
    else list.push([from, to]);
    return list;
  }, []);
}

function setGaps() {
  byId("hide").hidden = !source.live;
  byId("gaps").hidden = source.live;
  byId("view").hidden = !source.live;
  byId("weather-label").hidden = !source.live;
  byId("whole-help").hidden = !source.live;
  byId("keep").hidden = !source.live;
  if (source.live) return;
  const gaps = source.gaps(river());
  byId("gap").replaceChildren(...gaps.map((gap, n) => create("option", gap.length ? gap.map(format.period).join(", ") : "none", { value: n })));
}

function setIssues() {
  state.issues = source.live ? days.between(state.start, state.end).map(days.text) : source.issues(river());
  byId("issue").max = state.issues.length - 1;
  const index = state.issues.indexOf(state.issue);
  byId("issue").value = index >= 0 ? index : Math.floor(state.issues.length / 2);
  showIssueDay();
}

function showIssueDay() {
  state.issue = state.issues[byId("issue").value];
  byId("issue-day").textContent = days.words(state.issue);
  byId("issue").setAttribute("aria-valuetext", days.words(state.issue));
}

async function issue() {
  const body = { river: river(), issue: state.issue, days: 10, future_weather: state.weather };
  const response = await request("forecast-answer", "The model forecasts …", (signal) => source.forecast(body, signal));
  if (!response) return;
  latest.forecast = response;
  showForecast();
}

function showForecast() {
  const { forecast: response, station } = latest;
  if (!response) return;
  const summary = panels.forecast(response, area());
  forecast.show(response, `Forecast of ${title(response.river)}. ${summary}`, area(), station.thresholds);
  byId("forecast-answer").textContent = summary;
  panels.thresholds(byId("forecast-thresholds"), station.thresholds, response, area());
}

async function setBeside(rivers) {
  state.also = [...new Set(rivers)].slice(-MOST_BESIDE);
  byId("keep").disabled = state.also.includes(river());
  remember();
  await showBeside();
}

async function showBeside() {
  const others = state.also.filter((name) => name !== river());
  await beside.show(others, title, (name) =>
    request("beside-rivers", null, async (signal) => {
      const body = { river: name, start: state.start, end: state.end, hide: state.hidden };
      const [response, station] = await Promise.all([source.answer(body, signal), source.station(name, signal)]);
      return { response, station, area: record.area[record.river.indexOf(name)] };
    }),
  );
}

// Draw everything again, in other units, on another axis, with another baseline.
function redraw() {
  Object.assign(display, { units: byId("units").value, axis: byId("axis").value, beside: byId("beside").value, lines: byId("lines").checked });
  if (!latest.answer) return;
  showAnswer();
  showForecast();
  whole.redraw();
  beside.redraw();
  remember();
}

async function predictMap() {
  const { variable, day, share, draw } = state.picture;
  [byId("variable").value, byId("map-day").value, byId("share").value] = [variable, day, share];
  const response = await request("map-answer", "The model restores the map …", (signal) => source.map({ variable, day, share, draw }, signal));
  if (!response) return;
  byId("map-answer").textContent = panels.maps(response);
  remember();
}

function mapWith(draw) {
  state.picture = { variable: byId("variable").value, day: byId("map-day").value, share: byId("share").value, draw };
  return predictMap();
}

function paint() {
  map.paint(record.scores ? record.scores.questions[byId("question").value] : null);
}

function move(direction) {
  const step = Math.max(1, Math.round((days.number(state.end) - days.number(state.start)) / 2)) * direction;
  const room = direction < 0 ? days.number(record.start) - days.number(state.start) : days.number(record.end) - days.number(state.end);
  const by = direction < 0 ? Math.max(step, room) : Math.min(step, room);
  showDays(days.plus(state.start, by), days.plus(state.end, by));
}

function find() {
  fault("");
  const message = search.submit();
  if (message) fault(message);
}

function listenToForms() {
  const submitted = {
    find,
    view: () => showDays(byId("from").value, byId("to").value),
    hide: () => hide(byId("hide-from").value, byId("hide-to").value),
    mapped: () => mapWith(state.picture?.draw ?? 0),
  };
  for (const [id, work] of Object.entries(submitted)) {
    byId(id).addEventListener("submit", (event) => {
      event.preventDefault();
      work();
    });
  }
  for (const id of ["gaps", "issued", "switches"]) byId(id).addEventListener("submit", (event) => event.preventDefault());
  const setAll = (periods) => {
    const before = state.hidden;
    state.hidden = periods;
    return setHidden(before);
  };
  byId("forget").addEventListener("click", () => setAll([]));
  byId("gap").addEventListener("change", () => setAll(source.gaps(river())[byId("gap").value]));
  byId("earlier").addEventListener("click", () => move(-1));
  byId("later").addEventListener("click", () => move(1));
  byId("switches").addEventListener("change", redraw);
  byId("redraw").addEventListener("click", () => mapWith(((state.picture?.draw ?? 0) + 1) % 10000));
}

function listen() {
  listenToForms();
  byId("closer").addEventListener("click", () => map.zoomBy(2));
  byId("whole-country").addEventListener("click", () => map.zoomBy(1));
  byId("question").addEventListener("change", () => { paint(); amend(secondary()); });
  let timer;
  byId("issue").addEventListener("input", () => {
    showIssueDay();
    clearTimeout(timer);
    timer = setTimeout(() => issue().then(() => amend({ issue: state.issue })), 120);
  });
  byId("weather").addEventListener("change", () => { state.weather = byId("weather").value; issue().then(() => remember()); });
  byId("curve").addEventListener("toggle", () => { duration.redraw(); amend(secondary()); });
  byId("keep").addEventListener("click", () => setBeside([...state.also, river()]));
  for (const [id, chart] of [["hydrograph", hydrograph], ["forecast", forecast]]) {
    byId(`${id}-csv`).addEventListener("click", () => download.table(chart));
    byId(`${id}-png`).addEventListener("click", () => download.picture(chart, title(river()), [`hydromae explorer, ${record.predicted_by}.`, ...record.sources].join(" ")));
  }
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); byId("river-title").focus(); });
  addEventListener("popstate", () => restored());
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => { restoring = false; }, true); // what follows is the reader's
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

function initialise() {
  const count = format.count(record.river.length, "gauge");
  byId("title").textContent = `${count} of ${record.record}`;
  byId("lead").textContent =
    `Daily flow from ${days.words(record.start)} to ${days.words(record.end)}, predicted by ${record.model}. ` +
    (source.live
      ? "Drag over days to hide them, and compare the prediction with the observations."
      : `A copy without the model: it contains predictions of gaps and forecasts for the rivers ${source.rivers.join(", ")}.`);
  if (!source.live) byId("hydrograph-help").textContent = "Select days by dragging, or with Shift and the arrow keys, to show the most similar gap of this file.";
  byId("answered-by").textContent = `Predictions: ${record.predicted_by}${record.written ? `, ${record.written}` : ""}.`;
  byId("sources").textContent = record.sources.length ? `Data: ${record.sources.join("; ")}.` : "";
  byId("colours").hidden = byId("legend").hidden = !record.scores;
  if (record.scores) byId("question").replaceChildren(...record.scores.questions.map((one, n) => create("option", one.title, { value: n })));
  paint();
  byId("maps").hidden = !source.live || record.maps.length === 0;
  byId("variable").replaceChildren(...record.maps.map((name) => create("option", name.replace("_", " "), { value: name })));
  [byId("map-day").min, byId("map-day").max, byId("map-day").value] = [record.start, record.end, record.end];
  for (const id of ["from", "to"]) [byId(id).min, byId(id).max] = [record.start, record.end];
}

// Restore the address without writing new entries of the history.
async function restored() {
  restoring = true;
  try {
    await restore();
  } finally {
    restoring = false;
  }
}

async function start() {
  record = await source.record();
  let timer;
  map = new CountryMap(byId("map"), record, choose, source.live ? null : new Set(source.rivers), () => {
    clearTimeout(timer);
    timer = setTimeout(() => amend(secondary()), 200);
  });
  search = new Search(record.river.map((_, k) => map.label(k)), record.river, choose);
  initialise();
  listen();
  requestAnimationFrame(() => performance.mark("drawn"));
  await restored();
  remember(false);
}

start().catch((error) => fault(error.message));
