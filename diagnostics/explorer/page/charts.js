// Pictures: lines with their intervals and bands along the alliance, and bars of intervals.

// Told apart by colour-blind readers, on paper and on dark ground; dashes say the same again.
const ON_PAPER = ["#0072b2", "#c44f00", "#00805d", "#a8437f", "#2f7fb3", "#806400", "#5f5f5f"];
const ON_DARK = ["#56b4e9", "#f0a35e", "#4fd1a5", "#e59ac6", "#9fd0f5", "#d9bd4a", "#b9b9b9"];
const dark = window.matchMedia("(prefers-color-scheme: dark)");
let printing = false;
const colourOf = (k) => (dark.matches && !printing ? ON_DARK : ON_PAPER)[k % 7];
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "12 4", "4 4", "1 4"];
const NAMESPACE = "http://www.w3.org/2000/svg";

/** An SVG element with attributes and a text or children. */
function drawn(name, attributes = {}, ...within) {
  const found = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  found.append(...within);
  return found;
}

/** Round values that span a range. */
function ticks(low, high, wanted = 5) {
  const rough = (high - low) / wanted || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
    found.push(Number((k * step).toPrecision(12)));
  }
  return found;
}

const scaled = (from, to) => {
  const scale = (x) => to[0] + ((x - from[0]) / (from[1] - from[0] || 1)) * (to[1] - to[0]);
  scale.back = (x) => from[0] + ((x - to[0]) / (to[1] - to[0] || 1)) * (from[1] - from[0]);
  return scale;
};

const dot = (x) => Math.round(x * 10) / 10;
const path = (xs, ys) => xs.map((x, k) => `${k ? "L" : "M"}${dot(x)} ${dot(ys[k])}`).join("");

function area(xs, lower, upper) {
  return `${path(xs, upper)}${path([...xs].reverse(), [...lower].reverse()).replace("M", "L")}Z`;
}

/** How wide a picture is drawn: as it stands on the screen, on paper so that its letters are read. */
const widthOf = (svg) => (printing ? 590 : Math.max(300, svg.parentElement.clientWidth || 720));

/** Clear a picture and give it its size, its name and its colours. */
function begun(svg, height, label) {
  const width = widthOf(svg);
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  svg.setAttribute("font-size", "12");
  svg.setAttribute("fill", "currentColor");
  return width;
}

const minus = (text) => text.replace(/^-/, "\u2212");

/**
 * Lines along the alliance.
 *
 * @param {SVGElement} svg
 * @param {object} told - grid; series of {label, colour, mean, inner, outer}, where inner and outer
 *   are pairs of limits or missing; at, the chosen alliance; observed; names of the axes; line, a
 *   value that is marked; limits of the upright axis, or none.
 * @returns {function} The scale of the alliance, with its inverse `back`.
 */
function lineChart(svg, told) {
  const { grid, series, at, observed, names, line, limits, label } = told;
  const columns = widthOf(svg) < 560 ? 1 : 2, lines = Math.ceil(series.length / columns);
  const height = (printing ? 225 : 300) + 18 * lines;
  const width = begun(svg, height, label);
  const numbers = limits ?? series.flatMap(({ mean, inner, outer }) =>
    [mean, ...(inner ?? []), ...(outer ?? [])].flat());
  let low = Math.min(...numbers, line ?? Infinity), high = Math.max(...numbers, line ?? -Infinity);
  if (!limits) [low, high] = [low - 0.04 * (high - low), high + 0.04 * (high - low)];
  const frame = { left: 58, right: width - 14, top: 18 * lines + 16, bottom: height - 46 };
  const ends = [Math.min(grid[0], at), Math.max(grid.at(-1), at)];
  const x = scaled(ends, [frame.left, frame.right]);
  const y = scaled([low, high], [frame.bottom, frame.top]);
  const xs = grid.map(x);
  for (const [from, to] of [[ends[0], observed[0]], [observed[1], ends[1]]]) {
    if (to - from <= 0) continue;
    svg.append(drawn("rect", {
      x: dot(x(from)), y: frame.top, width: dot(x(to) - x(from)),
      height: frame.bottom - frame.top, "fill-opacity": 0.07,
    }));
    if (x(to) - x(from) > 76) {
      svg.append(drawn("text", {
        x: dot((x(from) + x(to)) / 2), y: frame.bottom - 6, "text-anchor": "middle",
        "fill-opacity": 0.8, "font-size": 11,
      }, "extrapolated"));
    }
  }
  for (const value of ticks(low, high)) {
    svg.append(
      drawn("line", {
        x1: frame.left, x2: frame.right, y1: dot(y(value)), y2: dot(y(value)),
        stroke: "currentColor", "stroke-opacity": 0.12,
      }),
      drawn("text", { x: frame.left - 8, y: dot(y(value)) + 4, "text-anchor": "end" },
        minus(general(value))),
    );
  }
  for (const value of ticks(...ends, Math.min(8, width / 80))) {
    svg.append(
      drawn("line", {
        x1: dot(x(value)), x2: dot(x(value)), y1: frame.bottom, y2: frame.bottom + 5,
        stroke: "currentColor",
      }),
      drawn("text", { x: dot(x(value)), y: frame.bottom + 18, "text-anchor": "middle" },
        minus(general(value))),
    );
  }
  svg.append(
    drawn("line", {
      x1: frame.left, x2: frame.right, y1: frame.bottom, y2: frame.bottom, stroke: "currentColor",
    }),
    drawn("text", {
      x: (frame.left + frame.right) / 2, y: height - 8, "text-anchor": "middle",
    }, names[0]),
    drawn("text", {
      x: 14, y: (frame.top + frame.bottom) / 2, "text-anchor": "middle",
      transform: `rotate(-90 14 ${(frame.top + frame.bottom) / 2})`,
    }, names[1]),
  );
  if (line !== undefined && line !== null) {
    svg.append(drawn("line", {
      x1: frame.left, x2: frame.right, y1: dot(y(line)), y2: dot(y(line)), stroke: "currentColor",
      "stroke-width": 1.2,
    }));
  }
  series.forEach(({ colour, outer, inner }) => {
    for (const [pair, opacity] of [[outer, 0.13], [inner, 0.2]]) {
      if (!pair || pair[0].some(Number.isNaN)) continue;
      svg.append(drawn("path", {
        d: area(xs, pair[0].map(y), pair[1].map(y)), fill: colourOf(colour),
        "fill-opacity": opacity,
      }));
    }
  });
  series.forEach(({ mean: middle, colour }) => svg.append(drawn("path", {
    d: path(xs, middle.map(y)), fill: "none", stroke: colourOf(colour), "stroke-width": 2.2,
    "stroke-dasharray": DASHES[colour % 7],
  })));
  svg.append(drawn("line", {
    x1: dot(x(at)), x2: dot(x(at)), y1: frame.top, y2: frame.bottom, stroke: "currentColor",
    "stroke-dasharray": "3 3", class: "at",
  }));
  legend(svg, series, frame, columns);
  return x;
}

/** What the lines are, above them. */
function legend(svg, series, frame, wanted) {
  const columns = series.length > 1 ? wanted : 1, start = columns > 1 ? frame.left : 8;
  const room = (frame.right - start) / columns;
  series.forEach(({ label, colour }, k) => {
    const left = start + (k % columns) * room, down = 14 + 18 * Math.floor(k / columns);
    const letters = Math.floor((room - 34) / 6.2);
    svg.append(
      drawn("line", {
        x1: left, x2: left + 28, y1: down - 4, y2: down - 4, stroke: colourOf(colour),
        "stroke-width": 2.2, "stroke-dasharray": DASHES[colour % 7],
      }),
      drawn("text", { x: left + 34, y: down },
        label.length > letters ? `${label.slice(0, letters - 1)}\u2026` : label),
    );
  });
}

/** Intervals one below the other: rows of [label, mean, lower, upper]; long labels above them. */
function barChart(svg, rows, { name, label }) {
  const longest = 6.6 * Math.max(...rows.map(([text]) => text.length)) + 16;
  const above = longest > 0.45 * widthOf(svg), each = above ? 42 : 26;
  const height = each * rows.length + 58, width = begun(svg, height, label);
  const left = above ? 16 : longest, frame = { right: width - 16, bottom: height - 44 };
  const numbers = [0, ...rows.flatMap(([, ...own]) => own)];
  const low = Math.min(...numbers), high = Math.max(...numbers), slack = 0.04 * (high - low) || 1;
  const x = scaled([low - slack, high + slack], [left, frame.right]);
  for (const value of ticks(low - slack, high + slack)) {
    svg.append(
      drawn("line", {
        x1: dot(x(value)), x2: dot(x(value)), y1: 6, y2: frame.bottom, stroke: "currentColor",
        "stroke-opacity": value === 0 ? 0.9 : 0.12,
      }),
      drawn("text", { x: dot(x(value)), y: frame.bottom + 16, "text-anchor": "middle" },
        minus(general(value))),
    );
  }
  rows.forEach(([text, middle, lower, upper], k) => {
    const down = each * (k + 1) - 8;
    svg.append(
      drawn("text", above ? { x: left, y: down - 14 }
        : { x: left - 10, y: down + 4, "text-anchor": "end" }, text),
      drawn("line", {
        x1: dot(x(lower)), x2: dot(x(upper)), y1: down, y2: down, stroke: colourOf(0),
        "stroke-width": 2.2,
      }),
      drawn("circle", { cx: dot(x(middle)), cy: down, r: 4, fill: colourOf(0) }),
    );
  });
  svg.append(drawn("text", {
    x: (left + frame.right) / 2, y: height - 8, "text-anchor": "middle",
  }, name));
}
