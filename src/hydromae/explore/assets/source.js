"use strict";
// Source of the responses: the server of this page, or the data of an exported page.

const source = (() => {
  const exported = document.getElementById("book");
  return exported ? fromExport(JSON.parse(exported.textContent)) : fromServer();

  function fromServer() {
    return {
      live: true,
      record: () => fetchJson("api/record"),
      river: (name, start, end, signal) => {
        const days = start ? `?start=${start}&end=${end}` : "";
        return fetchJson(`api/river/${encodeURIComponent(name)}${days}`, null, signal);
      },
      station: (name, signal) => fetchJson(`api/station/${encodeURIComponent(name)}`, null, signal),
      answer: (request, signal) => fetchJson("api/answer", request, signal),
      forecast: (request, signal) => fetchJson("api/forecast", request, signal),
      map: (request, signal) => fetchJson(`api/map?${new URLSearchParams(request)}`, null, signal),
    };
  }

  async function fetchJson(path, request, signal) {
    const options = request
      ? { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(request), signal }
      : { signal };
    let response, content;
    try {
      response = await fetch(path, options);
      content = await response.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer. Start hydromae explore again and reload this page.");
    }
    if (!response.ok) throw new Error(content.error);
    return content;
  }

  function fromExport(book) {
    const rivers = new Map(book.rivers.map((part) => [part.view.river, part]));
    const of = (name) => {
      if (!rivers.has(name)) throw new Error(`River ${name} is not in this file, which has ${[...rivers.keys()].join(", ")}.`);
      return rivers.get(name);
    };
    return {
      live: false,
      rivers: [...rivers.keys()],
      record: async () => book.record,
      river: async (name) => of(name).view,
      station: async (name) => of(name).station,
      gaps: (name) => of(name).answers.map((answer) => answer.hidden),
      issues: (name) => of(name).forecasts.map((forecast) => forecast.issue),
      answer: async (request) => nearest(of(request.river).answers, request.hide),
      forecast: async (request) => of(request.river).forecasts.find((f) => f.issue === request.issue),
      map: async () => { throw new Error("This file has no maps."); },
    };
  }

  // The answer whose hidden days are the most similar to the requested ones.
  function nearest(answers, hide) {
    const daySet = (periods) => new Set(periods.flatMap(([from, to]) => days.between(from, to)));
    const requested = daySet(hide);
    const difference = (answer) => {
      const hidden = daySet(answer.hidden);
      return requested.size + hidden.size - 2 * [...requested].filter((day) => hidden.has(day)).length;
    };
    const closest = (list) => list.reduce((best, one) => (difference(one) < difference(best) ? one : best));
    return requested.size ? closest(answers.filter((answer) => answer.hidden.length)) : answers[0];
  }
})();
