// The diagram of the pipe. Each level has a word, a shape and a colour.

import { h } from "/web/dom.js";
import { s, setAttr, setText } from "./render.js";
import { short } from "./phrases.js";

/** One path for each level, in a box of 24, so that levels differ without colour. */
export const SHAPES = {
  broken: "M8 2h8l6 6v8l-6 6H8l-6-6V8zM8 8l8 8M16 8l-8 8",
  wrong: "M12 2l10 10-10 10L2 12zM12 7v6M12 16v1",
  behind: "M12 3l10 18H2zM12 10v5M12 17.5v.5",
  look: "M12 3l10 18H2zM12 10v5M12 17.5v.5",
  busy: "M12 3a9 9 0 1 0 9 9M21 4v6h-6",
  quiet: "M12 3a9 9 0 1 0 .01 0M7.5 12.5l3 3 6-7",
  unknown: "M12 3a9 9 0 1 0 .01 0M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M12 16.5v.5",
};

export const WORDS = {
  broken: "broken",
  wrong: "drift",
  behind: "behind",
  look: "needs attention",
  busy: "busy",
  quiet: "quiet",
  unknown: "unknown",
};

/** Build a badge: {element, update([level, word, shape])}; the shape defaults to the level's. */
export function badge() {
  const path = s("path", { d: "" });
  const word = h("span", {});
  const element = h("span", { class: "verdict" }, s("svg", { viewBox: "0 0 24 24", class: "shape", "aria-hidden": "true" }, path), word);
  return {
    element,
    update([level, text, shape = SHAPES[level]]) {
      setAttr(element, "data-level", level);
      setAttr(path, "d", shape);
      setText(word, text);
    },
  };
}

const NAMES = {
  source: "Source",
  outbox: "Outbox",
  relay: "Relay",
  broker: "RabbitMQ",
  consumer: "Consumer",
  replica: "Replica",
};
const FLOW = Object.keys(NAMES);
const LETTERS_MAX = 24; // per line of a station
const LINES_MAX = 3;
const FIGURE_LETTERS_MAX = 12; // longer figures get a smaller font

// The positions of all parts, for wide and narrow screens.
const WIDE = {
  size: [1170, 318],
  box: [158, 122],
  at: (index) => [[14, 202, 390, 600, 810, 998][index], 44],
  arrow: ([x, y], [w, h], [nextX]) => [x + w + 4, y + h / 2, nextX - 5, y + h / 2],
  areas: { near: [2, 4, 558, 174], far: [798, 4, 370, 234] },
  parked: [810, 190, 158, 36],
  parkedArrow: [889, 168, 889, 185],
  compared: { path: "M1077 168V284H93V172", text: [585, 289] },
};
const NARROW = {
  size: [340, 946],
  box: [220, 104],
  at: (index) => [20, [44, 172, 300, 452, 604, 732][index]],
  arrow: ([x, y], [w, h], [, nextY]) => [x + w / 2, y + h + 3, x + w / 2, nextY - 4],
  areas: { near: [4, 4, 252, 412], far: [4, 564, 332, 284] },
  parked: [254, 624, 76, 64],
  parkedArrow: [242, 656, 250, 656],
  compared: { path: "M130 840V890H290V96H246", text: [170, 914] },
};

/** Draw the diagram into `place`; returns the function that shows {stations, near, far}. */
export function diagram(place, signal) {
  const narrow = matchMedia("(max-width: 860px)");
  let shown = null;
  let last = null;

  function draw() {
    const layout = narrow.matches ? NARROW : WIDE;
    shown = drawn(layout, narrow.matches);
    place.replaceChildren(shown.element);
    if (last) shown.update(last);
  }

  narrow.addEventListener("change", draw, { signal });
  draw();
  return (state) => {
    last = state;
    shown.update(state);
  };
}

function drawn(layout, isNarrow) {
  const [width, height] = layout.size;
  const element = s("svg", { viewBox: `0 0 ${width} ${height}`, class: `pipe ${isNarrow ? "narrow" : "wide"}`, role: "list", "aria-label": "The path of an event, from the source to the replica" });
  const areas = {
    near: area("auth service", layout.areas.near),
    far: area("blog service", layout.areas.far),
  };
  element.append(areas.near.element, areas.far.element);

  const compared = comparedLine(layout.compared, isNarrow);
  element.append(compared.element);

  const arrows = FLOW.slice(1).map((name, index) => {
    const line = arrow(layout.arrow(layout.at(index), layout.box, layout.at(index + 1)));
    element.append(line);
    return { line, from: FLOW[index], to: name };
  });
  const toParked = arrow(layout.parkedArrow);
  element.append(toParked);

  const boxes = Object.fromEntries(FLOW.map((name, index) => [name, box(NAMES[name], layout.at(index), layout.box)]));
  for (const each of Object.values(boxes)) element.append(each.element);
  const parked = parkedBox(layout.parked, isNarrow);
  element.append(parked.element);

  return {
    element,
    update({ stations, near, far }) {
      for (const name of FLOW) boxes[name].update(stations[name]);
      parked.update(stations.parked);
      compared.update(stations.compared);
      areas.near.update(near);
      areas.far.update(far);
      for (const { line, from, to } of arrows) {
        const levels = [stations[from].level, stations[to].level];
        setAttr(line, "data-flow", levels.includes("broken") ? "broken" : levels.includes("unknown") ? "unknown" : levels.every((level) => level === "busy") ? "busy" : "quiet");
      }
      setAttr(toParked, "data-flow", stations.parked.level === "look" ? "look" : "quiet");
    },
  };
}

function area(name, [x, y, width, height]) {
  const note = s("text", { x: x + width - 12, y: y + 22, "text-anchor": "end", class: "when" });
  const element = s(
    "g",
    { class: "area", role: "presentation" },
    s("rect", { x, y, width, height, rx: 10 }),
    s("text", { x: x + 14, y: y + 22, class: "service" }, name),
    note,
  );
  return {
    element,
    update({ isAway, note: text }) {
      setAttr(element, "data-away", isAway);
      setText(note, text);
    },
  };
}

function box(name, [x, y], [width, height]) {
  const lines = Array.from({ length: LINES_MAX }, (_, index) => s("text", { x: x + 14, y: y + 76 + index * 17, class: "line" }));
  const shape = s("path", { d: "" });
  const figure = s("text", { x: x + 14, y: y + 54, class: "figure" });
  const whole = s("title");
  const element = s(
    "g",
    { class: "station", role: "listitem" },
    whole,
    s("rect", { x, y, width, height, rx: 8 }),
    s("text", { x: x + 14, y: y + 26, class: "name" }, name),
    s("g", { transform: `translate(${x + width - 34} ${y + 9})`, class: "mark" }, shape),
    figure,
    ...lines,
  );
  return {
    element,
    update(station) {
      setAttr(element, "data-level", station.level);
      setAttr(shape, "d", SHAPES[station.level]);
      setText(figure, station.figure);
      setAttr(figure, "data-long", station.figure.length > FIGURE_LETTERS_MAX);
      const texts = station.lines.flatMap(wrapped).slice(0, LINES_MAX);
      lines.forEach((line, index) => setText(line, texts[index] ?? ""));
      const words = `${name}, ${WORDS[station.level]}: ${[station.figure, ...station.lines].join(", ")}`;
      setAttr(element, "aria-label", words);
      setText(whole, words);
    },
  };
}

function parkedBox([x, y, width, height], isNarrow) {
  const figure = s("text", { x: x + width / 2, y: y + height / 2 + (isNarrow ? -4 : 5), "text-anchor": "middle", class: "line strong" });
  const second = s("text", { x: x + width / 2, y: y + height / 2 + 14, "text-anchor": "middle", class: "line" });
  const element = s(
    "a",
    { href: "#parked", class: "station", role: "listitem" },
    s("rect", { x, y, width, height, rx: 8 }),
    figure,
    second,
  );
  return {
    element,
    update(station) {
      setAttr(element, "data-level", station.level);
      const [number, word = ""] = station.figure.split(" ");
      setText(figure, isNarrow ? abbreviated(number) : station.figure);
      setText(second, isNarrow ? word : "");
      setAttr(element, "aria-label", `Parked messages, ${WORDS[station.level]}: ${station.figure}`);
    },
  };
}

const abbreviated = (number) => (/^\d/.test(number) ? short(Number(number.replaceAll(",", ""))) : number);

function comparedLine({ path, text: [x, y] }, isNarrow) {
  const text = s("text", { x, y, "text-anchor": "middle", class: "line strong" });
  const more = s("text", { x, y: y + 18, "text-anchor": "middle", class: "line" });
  const shape = s("path", { d: "" });
  const mark = s("g", { class: "mark" }, shape);
  const back = s("rect", { y: y - 16, height: isNarrow ? 48 : 26, rx: 6, class: "back" });
  const element = s("a", { href: "#reconcile", class: "compared", role: "listitem" }, s("path", { d: path, class: "thread" }), back, mark, text, more);
  return {
    element,
    update(station) {
      setAttr(element, "data-level", station.level);
      setAttr(shape, "d", SHAPES[station.level]);
      const [first, ...rest] = isNarrow ? station.figure.split(/, (?=compared|proved)/) : [station.figure];
      setText(text, first);
      setText(more, rest.join(""));
      const half = (first.length * 6.9) / 2 + 8;
      setAttr(back, "x", x - half - 26);
      setAttr(back, "width", 2 * half + 26);
      setAttr(mark, "transform", `translate(${x - half - 20} ${y - 15}) scale(.85)`);
      setAttr(element, "aria-label", `Source and replica, ${WORDS[station.level]}: ${station.figure}`);
    },
  };
}

function arrow([x1, y1, x2, y2]) {
  const isDown = x1 === x2;
  const tip = isDown ? `M${x2 - 5} ${y2 - 7}L${x2} ${y2}L${x2 + 5} ${y2 - 7}` : `M${x2 - 7} ${y2 - 5}L${x2} ${y2}L${x2 - 7} ${y2 + 5}`;
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  return s(
    "g",
    { class: "arrow", "aria-hidden": "true" },
    s("path", { d: `M${x1} ${y1}L${x2} ${y2}`, class: "line" }),
    s("path", { d: tip, class: "tip" }),
    s("path", { d: `M${x - 5} ${y - 5}l10 10M${x + 5} ${y - 5}l-10 10`, class: "cut" }),
  );
}

/** Wrap a text into lines that fit into a station. */
function wrapped(text) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (longer.length <= LETTERS_MAX) lines[lines.length - 1] = longer;
    else if (lines.length === LINES_MAX) return [...lines.slice(0, -1), `${lines.at(-1).slice(0, LETTERS_MAX - 1)}…`];
    else lines.push(word);
  }
  return lines;
}
