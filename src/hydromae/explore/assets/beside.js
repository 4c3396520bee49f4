"use strict";
// Other rivers beside the chosen one: the same days, and the same days hidden in each of them alone.

const MOST_BESIDE = 3;

class BesideRivers {
  // `onSelect(river)` shows a river as the chosen one; `onRemove(river)` takes it away.
  constructor(host, onSelect, onRemove) {
    Object.assign(this, { host, onSelect, onRemove });
    this.figures = new Map();
  }

  // Show rivers: `title(river)` names one, `load(river)` gives its response, station and area, or null.
  async show(rivers, title, load) {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    for (const [river, figure] of this.figures) {
      if (rivers.includes(river)) continue;
      figure.chart.close();
      figure.box.remove();
      this.figures.delete(river);
    }
    this.host.hidden = !rivers.length;
    for (const river of rivers) {
      if (!this.figures.has(river)) this.figures.set(river, this.add(river, title(river)));
      const figure = this.figures.get(river);
      const loaded = await load(river);
      if (turn !== this.turn) return; // a later call shows other days
      if (!loaded) continue;
      const summary = panels.hidden(loaded.response, loaded.area);
      figure.chart.show(loaded.response, `Hydrograph of ${title(river)}. ${summary}`, loaded.area, loaded.station.thresholds);
      figure.words.textContent = summary.split(" From this river")[0];
    }
  }

  add(river, title) {
    const box = create("figure", undefined, { "data-river": river });
    const choose = create("button", title, { type: "button", class: "plain" });
    const remove = create("button", "Remove", { type: "button", class: "plain", "aria-label": `Remove ${title}` });
    choose.addEventListener("click", () => this.onSelect(river));
    remove.addEventListener("click", () => this.onRemove(river));
    const head = create("figcaption", undefined, { class: "row" });
    head.append(choose, remove);
    const parts = {
      axis: create("p", "", { class: "axis" }),
      host: create("div", undefined, { class: "plot", tabindex: "0", role: "img" }),
      readout: create("p", "", { class: "readout", role: "status", "aria-live": "polite" }),
    };
    const words = create("p", "", { class: "note" });
    box.append(head, parts.axis, parts.host, parts.readout, words);
    this.host.append(box);
    return { box, words, chart: new Hydrograph(parts, null) };
  }

  redraw() {
    for (const { chart } of this.figures.values()) chart.redraw();
  }
}
