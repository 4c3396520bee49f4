"use strict";
// Search for a gauge: a field with the list of all gauges that match.

class Search {
  // `labels` of all gauges; `onSelect(k)` is called with the index of the chosen one.
  constructor(labels, numbers, onSelect) {
    this.labels = labels;
    this.lower = labels.map((label) => label.toLowerCase());
    this.numbers = numbers.map((number) => number.toLowerCase());
    this.onSelect = onSelect;
    [this.field, this.list, this.count] = ["wanted", "found", "found-count"].map(byId);
    this.matches = [];
    this.active = -1;
    this.field.addEventListener("input", () => this.open());
    this.field.addEventListener("keydown", (event) => this.pressed(event));
    byId("find").addEventListener("focusout", (event) => byId("find").contains(event.relatedTarget) || this.close());
    this.list.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[data-k]");
      if (option) this.choose(Number(option.dataset.k));
    });
  }

  text() {
    return this.field.value.trim().toLowerCase();
  }

  open() {
    const text = this.text();
    this.matches = text ? this.lower.flatMap((label, k) => (label.includes(text) ? [k] : [])) : [];
    this.active = -1;
    const options = this.matches.map((k) => create("li", this.labels[k], { role: "option", id: `found-${k}`, "data-k": k, "aria-selected": "false" }));
    this.list.replaceChildren(...options);
    this.list.hidden = !options.length;
    this.field.setAttribute("aria-expanded", String(Boolean(options.length)));
    this.field.removeAttribute("aria-activedescendant");
    const gauges = options.length === 1 ? "1 gauge matches." : `${options.length || "No"} gauges match.`;
    this.count.textContent = text ? gauges : "";
  }

  close() {
    this.active = -1;
    this.list.hidden = true;
    this.field.setAttribute("aria-expanded", "false");
    this.field.removeAttribute("aria-activedescendant");
    this.count.textContent = "";
  }

  choose(k) {
    this.close();
    this.onSelect(k);
  }

  pressed(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") this.close();
    if (!step) return;
    event.preventDefault();
    if (this.list.hidden) this.open();
    if (!this.matches.length) return;
    this.active = (this.active + step + this.matches.length + (this.active < 0 && step < 0 ? 1 : 0)) % this.matches.length;
    [...this.list.children].forEach((option, n) => option.setAttribute("aria-selected", String(n === this.active)));
    this.list.children[this.active].scrollIntoView({ block: "nearest" });
    this.field.setAttribute("aria-activedescendant", this.list.children[this.active].id);
  }

  // The marked gauge, the one of that number or name, or the only match; several stay listed. Returns a message, or "".
  submit() {
    const text = this.text();
    const marked = this.active;
    if (marked < 0) this.open();
    const exact = text ? this.lower.findIndex((label, k) => label === text || this.numbers[k] === text) : -1;
    const k = marked >= 0 ? this.matches[marked] : exact >= 0 ? exact : this.matches.length === 1 ? this.matches[0] : -1;
    if (k >= 0) this.choose(k);
    else if (!this.matches.length) {
      this.close();
      if (!text) return "Type the number of a gauge or a part of its name.";
      return `No gauge is called “${this.field.value}”. Type its number or a part of its name.`;
    }
    return "";
  }
}
