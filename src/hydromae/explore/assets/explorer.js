"use strict";
// The page: which river, which days, what is hidden, from which day a forecast; and who asks whom.

const state = { k: -1, start: null, end: null, hidden: [], issues: [] };
let record, map;
const hydrograph = new Hydrograph("hydrograph", (from, to) => hide(from, to));
const forecast = new Hydrograph("forecast", null);

// One question of a kind at a time: a new one calls off the one before it.
const going = {};
async function ask(kind, words, work) {
  going[kind]?.abort();
  const mine = (going[kind] = new AbortController());
  const said = at(kind);
  const waits = setTimeout(() => { said.textContent = words; }, 150);
  said.classList.add("busy");
  said.setAttribute("aria-busy", "true");
  try {
    const told = await work(mine.signal);
    if (going[kind] !== mine) return null;
    at("fault").hidden = true;
    return told;
  } catch (error) {
    if (error.name !== "AbortError" && going[kind] === mine) fault(error.message);
    return null;
  } finally {
    clearTimeout(waits);
    if (going[kind] === mine) {
      said.classList.remove("busy");
      said.removeAttribute("aria-busy");
      if (said.textContent === words) said.textContent = "";
    }
  }
}

function fault(message) {
  at("fault").textContent = message;
  at("fault").hidden = false;
}

const river = () => record.river[state.k];

async function choose(k, follow = true) {
  if (!source.live && !source.rivers.includes(record.river[k])) {
    return fault(`River ${record.river[k]} is not in this file, which holds ${source.rivers.join(", ")}.`);
  }
  state.k = k;
  state.hidden = source.live ? [] : source.gaps(river()).find((gap) => gap.length) ?? [];
  at("river").hidden = false;
  at("ahead").hidden = false;
  map.mark(k);
  history.replaceState(null, "", `#${encodeURIComponent(river())}`);
  at("river-title").textContent = record.name[k] ? `${record.name[k]} (${river()})` : `Gauge ${river()}`;
  at("facts").textContent = panels.facts(record, k);
  if (follow && at("river").getBoundingClientRect().top > 0.8 * innerHeight) at("river").scrollIntoView();
  return look(state.start, state.end);
}

// Shows days of the river, the answer for those that nobody measured, and a forecast in their middle.
async function look(start, end) {
  const told = await ask("answer", "Reading …", (signal) => source.river(river(), start, end, signal));
  if (!told) return;
  [state.start, state.end] = [told.start, told.end];
  for (const [id, day] of [["from", told.start], ["to", told.end]]) at(id).value = day;
  for (const id of ["hide-from", "hide-to"]) [at(id).min, at(id).max] = [told.start, told.end];
  state.hidden = state.hidden.filter(([from, to]) => from >= told.start && to <= told.end);
  hydrograph.show(told, `Hydrograph of ${at("river-title").textContent}, ${words.stretch([told.start, told.end])}`);
  if (!told.flow.some((value) => value !== null)) fault("No flow was measured in these days: the model answers all of them.");
  setGaps();
  setIssues();
  await answer();
  await issue();
}

async function answer() {
  const question = { river: river(), start: state.start, end: state.end, hide: state.hidden };
  const told = await ask("answer", "The model answers …", (signal) => source.answer(question, signal));
  if (!told) return false;
  state.hidden = told.hidden;
  const said = panels.hidden(told);
  hydrograph.show(told, `Hydrograph of ${at("river-title").textContent}. ${said}`);
  at("answer").textContent = said;
  at("numbers").hidden = panels.numbers(at("numbers").querySelector("table"), told) === 0;
  panels.neighbours(told, map, choose);
  if (!source.live) at("gap").selectedIndex = source.gaps(river()).findIndex((gap) => String(gap) === String(told.hidden));
  return true;
}

async function hide(from, to) {
  const before = state.hidden;
  [at("hide-from").value, at("hide-to").value] = [from, to];
  if (!source.live) state.hidden = [];
  state.hidden = joined([...state.hidden, [from, to]]);
  if (!(await answer())) state.hidden = before; // what was refused is not hidden
}

// Stretches that touch become one.
function joined(stretches) {
  const sorted = [...stretches].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.reduce((list, [from, to]) => {
    const last = list.at(-1);
    if (last && from <= days.plus(last[1], 1)) last[1] = to > last[1] ? to : last[1];
    else list.push([from, to]);
    return list;
  }, []);
}

function setGaps() {
  at("hide").hidden = !source.live;
  at("gaps").hidden = source.live;
  at("view").hidden = !source.live;
  at("weather-label").hidden = !source.live;
  if (source.live) return;
  const gaps = source.gaps(river());
  at("gap").replaceChildren(...gaps.map((gap, n) => made("option", gap.length ? gap.map(words.stretch).join(", ") : "none", { value: n })));
}

function setIssues() {
  const before = state.issues[at("issue").value];
  state.issues = source.live ? days.between(state.start, state.end).map(days.text) : source.issues(river());
  at("issue").max = state.issues.length - 1;
  const kept = state.issues.indexOf(before);
  at("issue").value = kept >= 0 ? kept : Math.floor(state.issues.length / 2);
}

function sayIssue() {
  const day = state.issues[at("issue").value];
  at("issue-day").textContent = days.words(day);
  at("issue").setAttribute("aria-valuetext", days.words(day));
  return day;
}

async function issue() {
  const question = { river: river(), issue: sayIssue(), days: 10, future_future_weather: at("weather").value };
  const told = await ask("forecast-answer", "The model forecasts …", (signal) => source.forecast(question, signal));
  if (!told) return;
  const said = panels.ahead(told);
  forecast.show(told, `Forecast of ${at("river-title").textContent}. ${said}`);
  at("forecast-answer").textContent = said;
}

async function restore() {
  const question = { variable: at("variable").value, day: at("map-day").value, share: at("share").value, draw: state.draw ?? 0 };
  const told = await ask("map-answer", "The model restores the map …", (signal) => source.map(question, signal));
  if (told) at("map-answer").textContent = panels.maps(told);
}

function move(direction) {
  const step = Math.max(1, Math.round((days.number(state.end) - days.number(state.start)) / 2)) * direction;
  const room = direction < 0 ? days.number(record.start) - days.number(state.start) : days.number(record.end) - days.number(state.end);
  const by = direction < 0 ? Math.max(step, room) : Math.min(step, room);
  look(days.plus(state.start, by), days.plus(state.end, by));
}

function find() {
  const wanted = at("wanted").value.trim().toLowerCase();
  const labels = record.river.map((_, k) => map.label(k).toLowerCase());
  let k = labels.findIndex((label, n) => label === wanted || record.river[n].toLowerCase() === wanted);
  if (k < 0 && wanted) k = labels.findIndex((label) => label.includes(wanted));
  if (k < 0) return fault(`No gauge is called “${at("wanted").value}”. Type its number or a part of its name.`);
  at("fault").hidden = true;
  return choose(k);
}

function listen() {
  const submitted = { find, view: () => look(at("from").value, at("to").value), hide: () => hide(at("hide-from").value, at("hide-to").value), mapped: restore };
  for (const [id, work] of Object.entries(submitted)) {
    at(id).addEventListener("submit", (event) => {
      event.preventDefault();
      work();
    });
  }
  for (const id of ["gaps", "issued"]) at(id).addEventListener("submit", (event) => event.preventDefault());
  at("earlier").addEventListener("click", () => move(-1));
  at("later").addEventListener("click", () => move(1));
  at("forget").addEventListener("click", () => { state.hidden = []; answer(); });
  at("gap").addEventListener("change", () => { state.hidden = source.gaps(river())[at("gap").value]; answer(); });
  at("closer").addEventListener("click", () => map.closer(2));
  at("whole").addEventListener("click", () => map.closer(1));
  at("question").addEventListener("change", () => map.paint(record.scores.questions[at("question").value]));
  let soon;
  at("issue").addEventListener("input", () => {
    sayIssue();
    clearTimeout(soon);
    soon = setTimeout(issue, 120);
  });
  at("weather").addEventListener("change", issue);
  at("redraw").addEventListener("click", () => { state.draw = (state.draw ?? 0) + 1; restore(); });
}

function introduce() {
  const count = words.count(record.river.length, "gauge");
  at("title").textContent = `${count} of ${record.record}`;
  at("lead").textContent =
    `Daily flow from ${days.words(record.start)} to ${days.words(record.end)}, answered by ${record.model}. ` +
    (source.live
      ? "Choose a gauge, hide days of its flow, and see what the model makes of them."
      : `A copy to look at, without the model: rivers ${source.rivers.join(", ")} are in it, with gaps and forecasts that were answered when it was written.`);
  if (!source.live) at("hydrograph-help").textContent = "Choosing days, by dragging or with Shift and the arrow keys, shows the gap of this file that is most like them.";
  at("names").replaceChildren(...record.river.map((_, k) => made("option", undefined, { value: map.label(k) })));
  at("answered-by").textContent = `Answers: ${record.predicted_by}${record.written ? `, ${record.written}` : ""}.`;
  at("sources").textContent = record.sources.length ? `Data: ${record.sources.join("; ")}.` : "";
  at("colours").hidden = at("legend").hidden = !record.scores;
  if (record.scores) {
    at("question").replaceChildren(...record.scores.questions.map((one, n) => made("option", one.title, { value: n })));
    map.paint(record.scores.questions[0]);
  }
  at("maps").hidden = !source.live || record.maps.length === 0;
  at("variable").replaceChildren(...record.maps.map((name) => made("option", name.replace("_", " "), { value: name })));
  [at("map-day").min, at("map-day").max, at("map-day").value] = [record.start, record.end, record.end];
  for (const id of ["from", "to"]) [at(id).min, at(id).max] = [record.start, record.end];
}

async function begin() {
  record = await source.record();
  map = new CountryMap(at("map"), record, choose, source.live ? null : new Set(source.rivers));
  introduce();
  listen();
  at("near").open = innerWidth > 820;
  requestAnimationFrame(() => performance.mark("drawn"));
  const named = record.river.indexOf(decodeURIComponent(location.hash.slice(1)));
  if (named >= 0) await choose(named);
  else if (!source.live) await choose(record.river.indexOf(source.rivers[0]), false);
}

begin().catch((error) => fault(error.message));
