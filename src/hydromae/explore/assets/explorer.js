"use strict";
// State and events of the page: river, days, hidden days, issue day, and requests.

const state = { k: -1, start: null, end: null, hidden: [], issues: [] };
let record, map;
const hydrograph = new Hydrograph("hydrograph", (from, to) => hide(from, to));
const forecast = new Hydrograph("forecast", null);

// One request of a kind at a time: a new one aborts the previous one.
const pending = {};
async function request(kind, message, work) {
  pending[kind]?.abort();
  const controller = (pending[kind] = new AbortController());
  const status = byId(kind);
  const timer = setTimeout(() => { status.textContent = message; }, 150);
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
      if (status.textContent === message) status.textContent = "";
    }
  }
}

function fault(message) {
  byId("fault").textContent = message;
  byId("fault").hidden = false;
}

const river = () => record.river[state.k];

async function choose(k, follow = true) {
  if (!source.live && !source.rivers.includes(record.river[k])) {
    return fault(`River ${record.river[k]} is not in this file, which has ${source.rivers.join(", ")}.`);
  }
  state.k = k;
  state.hidden = source.live ? [] : source.gaps(river()).find((gap) => gap.length) ?? [];
  byId("river").hidden = false;
  byId("ahead").hidden = false;
  map.mark(k);
  history.replaceState(null, "", `#${encodeURIComponent(river())}`);
  byId("river-title").textContent = record.name[k] ? `${record.name[k]} (${river()})` : `Gauge ${river()}`;
  byId("facts").textContent = panels.facts(record, k);
  if (follow && byId("river").getBoundingClientRect().top > 0.8 * innerHeight) byId("river").scrollIntoView();
  return showDays(state.start, state.end);
}

// Show days of the river, predictions of unobserved days, and a forecast from the middle day.
async function showDays(start, end) {
  const response = await request("answer", "Reading …", (signal) => source.river(river(), start, end, signal));
  if (!response) return;
  [state.start, state.end] = [response.start, response.end];
  for (const [id, day] of [["from", response.start], ["to", response.end]]) byId(id).value = day;
  for (const id of ["hide-from", "hide-to"]) [byId(id).min, byId(id).max] = [response.start, response.end];
  state.hidden = state.hidden.filter(([from, to]) => from >= response.start && to <= response.end);
  hydrograph.show(response, `Hydrograph of ${byId("river-title").textContent}, ${format.period([response.start, response.end])}`);
  if (!response.flow.some((value) => value !== null)) fault("No flow was observed on these days: the model predicts all of them.");
  setGaps();
  setIssues();
  await answer();
  await issue();
}

async function answer() {
  const body = { river: river(), start: state.start, end: state.end, hide: state.hidden };
  const response = await request("answer", "The model predicts …", (signal) => source.answer(body, signal));
  if (!response) return false;
  state.hidden = response.hidden;
  const summary = panels.hidden(response);
  hydrograph.show(response, `Hydrograph of ${byId("river-title").textContent}. ${summary}`);
  byId("answer").textContent = summary;
  byId("numbers").hidden = panels.numbers(byId("numbers").querySelector("table"), response) === 0;
  panels.neighbours(response, map, choose);
  if (!source.live) byId("gap").selectedIndex = source.gaps(river()).findIndex((gap) => String(gap) === String(response.hidden));
  return true;
}

async function hide(from, to) {
  const before = state.hidden;
  [byId("hide-from").value, byId("hide-to").value] = [from, to];
  if (!source.live) state.hidden = [];
  state.hidden = merged([...state.hidden, [from, to]]);
  if (!(await answer())) state.hidden = before; // a refused request hides nothing
}

// Merge adjacent periods.
function merged(periods) {
  const sorted = [...periods].sort(([a], [b]) => (a < b ? -1 : 1));
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
  if (source.live) return;
  const gaps = source.gaps(river());
  byId("gap").replaceChildren(...gaps.map((gap, n) => create("option", gap.length ? gap.map(format.period).join(", ") : "none", { value: n })));
}

function setIssues() {
  const before = state.issues[byId("issue").value];
  state.issues = source.live ? days.between(state.start, state.end).map(days.text) : source.issues(river());
  byId("issue").max = state.issues.length - 1;
  const index = state.issues.indexOf(before);
  byId("issue").value = index >= 0 ? index : Math.floor(state.issues.length / 2);
}

function showIssueDay() {
  const day = state.issues[byId("issue").value];
  byId("issue-day").textContent = days.words(day);
  byId("issue").setAttribute("aria-valuetext", days.words(day));
  return day;
}

async function issue() {
  const body = { river: river(), issue: showIssueDay(), days: 10, future_weather: byId("weather").value };
  const response = await request("forecast-answer", "The model forecasts …", (signal) => source.forecast(body, signal));
  if (!response) return;
  const summary = panels.forecast(response);
  forecast.show(response, `Forecast of ${byId("river-title").textContent}. ${summary}`);
  byId("forecast-answer").textContent = summary;
}

async function restore() {
  const body = { variable: byId("variable").value, day: byId("map-day").value, share: byId("share").value, draw: state.draw ?? 0 };
  const response = await request("map-answer", "The model restores the map …", (signal) => source.map(body, signal));
  if (response) byId("map-answer").textContent = panels.maps(response);
}

function move(direction) {
  const step = Math.max(1, Math.round((days.number(state.end) - days.number(state.start)) / 2)) * direction;
  const room = direction < 0 ? days.number(record.start) - days.number(state.start) : days.number(record.end) - days.number(state.end);
  const by = direction < 0 ? Math.max(step, room) : Math.min(step, room);
  showDays(days.plus(state.start, by), days.plus(state.end, by));
}

function find() {
  const text = byId("wanted").value.trim().toLowerCase();
  const labels = record.river.map((_, k) => map.label(k).toLowerCase());
  let k = labels.findIndex((label, n) => label === text || record.river[n].toLowerCase() === text);
  if (k < 0 && text) k = labels.findIndex((label) => label.includes(text));
  if (k < 0) return fault(`No gauge is called “${byId("wanted").value}”. Type its number or a part of its name.`);
  byId("fault").hidden = true;
  return choose(k);
}

function listen() {
  const submitted = { find, view: () => showDays(byId("from").value, byId("to").value), hide: () => hide(byId("hide-from").value, byId("hide-to").value), mapped: restore };
  for (const [id, work] of Object.entries(submitted)) {
    byId(id).addEventListener("submit", (event) => {
      event.preventDefault();
      work();
    });
  }
  for (const id of ["gaps", "issued"]) byId(id).addEventListener("submit", (event) => event.preventDefault());
  byId("earlier").addEventListener("click", () => move(-1));
  byId("later").addEventListener("click", () => move(1));
  byId("forget").addEventListener("click", () => { state.hidden = []; answer(); });
  byId("gap").addEventListener("change", () => { state.hidden = source.gaps(river())[byId("gap").value]; answer(); });
  byId("closer").addEventListener("click", () => map.zoomBy(2));
  byId("whole").addEventListener("click", () => map.zoomBy(1));
  byId("question").addEventListener("change", () => map.paint(record.scores.questions[byId("question").value]));
  let timer;
  byId("issue").addEventListener("input", () => {
    showIssueDay();
    clearTimeout(timer);
    timer = setTimeout(issue, 120);
  });
  byId("weather").addEventListener("change", issue);
  byId("redraw").addEventListener("click", () => { state.draw = (state.draw ?? 0) + 1; restore(); });
}

function initialise() {
  const count = format.count(record.river.length, "gauge");
  byId("title").textContent = `${count} of ${record.record}`;
  byId("lead").textContent =
    `Daily flow from ${days.words(record.start)} to ${days.words(record.end)}, predicted by ${record.model}. ` +
    (source.live
      ? "Select a gauge, hide days of its flow, and compare the prediction with the observations."
      : `A copy without the model: it contains predictions of gaps and forecasts for the rivers ${source.rivers.join(", ")}.`);
  if (!source.live) byId("hydrograph-help").textContent = "Select days by dragging, or with Shift and the arrow keys, to show the most similar gap of this file.";
  byId("names").replaceChildren(...record.river.map((_, k) => create("option", undefined, { value: map.label(k) })));
  byId("answered-by").textContent = `Predictions: ${record.predicted_by}${record.written ? `, ${record.written}` : ""}.`;
  byId("sources").textContent = record.sources.length ? `Data: ${record.sources.join("; ")}.` : "";
  byId("colours").hidden = byId("legend").hidden = !record.scores;
  if (record.scores) {
    byId("question").replaceChildren(...record.scores.questions.map((one, n) => create("option", one.title, { value: n })));
    map.paint(record.scores.questions[0]);
  }
  byId("maps").hidden = !source.live || record.maps.length === 0;
  byId("variable").replaceChildren(...record.maps.map((name) => create("option", name.replace("_", " "), { value: name })));
  [byId("map-day").min, byId("map-day").max, byId("map-day").value] = [record.start, record.end, record.end];
  for (const id of ["from", "to"]) [byId(id).min, byId(id).max] = [record.start, record.end];
}

async function start() {
  record = await source.record();
  map = new CountryMap(byId("map"), record, choose, source.live ? null : new Set(source.rivers));
  initialise();
  listen();
  byId("near").open = innerWidth > 820;
  requestAnimationFrame(() => performance.mark("drawn"));
  const named = record.river.indexOf(decodeURIComponent(location.hash.slice(1)));
  if (named >= 0) await choose(named);
  else if (!source.live) await choose(record.river.indexOf(source.rivers[0]), false);
}

start().catch((error) => fault(error.message));
