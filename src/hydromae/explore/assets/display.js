"use strict";
// How flow is shown: units, axis, baseline and thresholds; and the address of the page, which has the whole state.

// Switches of all charts, with their defaults.
const display = { units: "mm", axis: "linear", beside: "interpolation", lines: true };

// Factor from mm/day to the units shown, for a catchment area [km²]; without an area flow stays in mm/day.
function flowScale(area) {
  const inVolume = display.units === "m3s" && area !== null && area !== undefined;
  return inVolume ? { factor: area / 86.4, units: "m³/s", cf: "m3 s-1" } : { factor: 1, units: "mm/day", cf: "mm day-1" };
}

const MOST_GAPS = 20;

const address = (() => {
  const DAY = /^\d{4}-\d{2}-\d{2}$/;
  const isDay = (text) => DAY.test(text) && !Number.isNaN(days.number(text)) && days.text(days.number(text)) === text;
  const CHOICES = { units: ["mm", "m3s"], axis: ["linear", "log"], beside: ["interpolation", "donors", "none"], lines: ["on", "off"], weather: ["observed", "none"], curve: ["closed", "open"] };

  // The parts of an address that are valid, and a message about the others. `#39001` alone is a river.
  function read(hash = location.hash) {
    const text = hash.slice(1);
    if (!text || text === "river-title") return { parts: {}, fault: "" };
    const given = new URLSearchParams(text.includes("=") ? text : `river=${text}`);
    const parts = {};
    const wrong = [];
    for (const [name, value] of given) {
      const parsed = parse(name, value);
      if (parsed === undefined) wrong.push(name.slice(0, 20));
      else parts[name] = parsed;
    }
    if (Boolean(parts.from) !== Boolean(parts.to) || parts.from > parts.to) {
      wrong.push("from and to");
      delete parts.from;
    }
    const fault = wrong.length ? `Parts of the address are not valid and were left out: ${wrong.join(", ")}.` : "";
    return { parts, fault };
  }

  function parse(name, value) {
    if (CHOICES[name]) return CHOICES[name].includes(value) ? value : undefined;
    if (name === "river") return record.river.includes(value) ? value : undefined;
    if (name === "also") {
      const rivers = value.split(",");
      return rivers.every((one) => record.river.includes(one)) ? [...new Set(rivers)].slice(0, MOST_BESIDE) : undefined;
    }
    if (["from", "to", "issue"].includes(name)) return isDay(value) ? value : undefined;
    if (name === "hide") {
      const periods = value.split(",").map((one) => one.split("_"));
      const isValid = (one) => one.length === 2 && one.every(isDay) && one[0] <= one[1];
      return periods.length <= MOST_GAPS && periods.every(isValid) ? periods : undefined;
    }
    if (name === "colours") return record.scores?.questions.some((one) => one.question === value) ? value : undefined;
    if (name === "frame") {
      const numbers = value.split(",").map(Number);
      return numbers.length === 3 && numbers.every(Number.isFinite) && numbers[2] >= 1 && numbers[2] <= MOST_ZOOM ? numbers : undefined;
    }
    if (name === "map") {
      const [variable, day, share, draw] = value.split(",");
      const valid = record.maps.includes(variable) && isDay(day) && ["0.2", "0.4", "0.8"].includes(share) && /^\d{1,4}$/.test(draw);
      return valid ? { variable, day, share, draw: Number(draw) } : undefined;
    }
    return undefined;
  }

  // Write parts: arrays of periods as first_last, empty ones and defaults left out. A new entry of the history if `push`.
  function write(parts, push) {
    const kept = new URLSearchParams();
    for (const [name, value] of Object.entries(parts)) {
      if (value !== null && value !== undefined && value !== "") kept.set(name, value);
    }
    const hash = `#${kept.toString().replaceAll("%2C", ",")}`;
    if (hash === location.hash) return;
    if (push) history.pushState(null, "", hash);
    else history.replaceState(null, "", hash);
  }

  return { read, write };
})();
