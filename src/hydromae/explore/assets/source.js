"use strict";
// Where answers come from: the server that sent this page, or the book that was written into it when it was exported.

const source = (() => {
  const written = document.getElementById("book");
  return written ? fromBook(JSON.parse(written.textContent)) : fromServer();

  function fromServer() {
    return {
      live: true,
      record: () => asked("api/record"),
      river: (name, start, end, signal) => {
        const days = start ? `?start=${start}&end=${end}` : "";
        return asked(`api/river/${encodeURIComponent(name)}${days}`, null, signal);
      },
      answer: (question, signal) => asked("api/answer", question, signal),
      forecast: (question, signal) => asked("api/forecast", question, signal),
      map: (question, signal) => asked(`api/map?${new URLSearchParams(question)}`, null, signal),
    };
  }

  async function asked(path, question, signal) {
    const sent = question
      ? { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(question), signal }
      : { signal };
    let answer, told;
    try {
      answer = await fetch(path, sent);
      told = await answer.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer. Start hydromae explore again and reload this page.");
    }
    if (!answer.ok) throw new Error(told.error);
    return told;
  }

  function fromBook(book) {
    const held = new Map(book.rivers.map((part) => [part.view.river, part]));
    const of = (name) => {
      if (!held.has(name)) throw new Error(`River ${name} is not in this file, which holds ${[...held.keys()].join(", ")}.`);
      return held.get(name);
    };
    return {
      live: false,
      rivers: [...held.keys()],
      record: async () => book.record,
      river: async (name) => of(name).view,
      gaps: (name) => of(name).answers.map((answer) => answer.hidden),
      issues: (name) => of(name).forecasts.map((forecast) => forecast.issue),
      answer: async (question) => nearest(of(question.river).answers, question.hide),
      forecast: async (question) => of(question.river).forecasts.find((f) => f.issue === question.issue),
      map: async () => { throw new Error("This file holds no maps."); },
    };
  }

  // The answer whose hidden days are most like the ones asked for.
  function nearest(answers, hide) {
    const held = (stretches) => new Set(stretches.flatMap(([from, to]) => days.between(from, to)));
    const wanted = held(hide);
    const apart = (answer) => {
      const has = held(answer.hidden);
      return wanted.size + has.size - 2 * [...wanted].filter((day) => has.has(day)).length;
    };
    const closest = (list) => list.reduce((best, one) => (apart(one) < apart(best) ? one : best));
    return wanted.size ? closest(answers.filter((answer) => answer.hidden.length)) : answers[0];
  }
})();
