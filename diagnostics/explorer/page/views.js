// Views: the sentence, picture, table and command of each, and what is saved of them.

const study = JSON.parse(document.getElementById("held").textContent);
const by = (name) => document.getElementById(name);
const outcomes = study.outcomes.map((told) => new Outcome(told, study));
const LATER = 250; // milliseconds after which an address is written and a sentence read out
let state, waiting = null, settling = null;

const now = () => outcomes[state.outcome];
const armLabel = (k) => study.arms[k].label;

/** An HTML element with properties and what it holds. */
function made(name, properties = {}, ...within) {
  const found = Object.assign(document.createElement(name), properties);
  found.append(...within);
  return found;
}

// Tables ------------------------------------------------------------------------------------------

/** A text with minus signs in front of its negative numbers. */
const typeset = (text) => text.replace(/(^|[\s(])-(?=\d)/g, "$1\u2212");

const NUMBER = /^([<>\u2265\u2264]\s?)?[+-]?\d|^infinite$/;

/** A table of rows by heading; the first `heads` columns say what a row is. */
function showTable(name, rows, { heads = 1, caption = "", chosen = -1 } = {}) {
  const table = by(`table-${name}`);
  table.parentElement.hidden = !rows.length;
  if (!rows.length) {
    table.replaceChildren();
    return;
  }
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const right = columns.map((head) =>
    rows.every((row) => !row[head] || NUMBER.test(row[head])) && rows.some((row) => row[head]));
  const told = (text) => (text ? typeset(text) : study.empty);
  const head = made("tr", {}, ...columns.map((text, k) =>
    made("th", { scope: "col", className: right[k] ? "number" : "" }, text)));
  const body = rows.map((row, number) => made("tr",
    { className: number === chosen ? "chosen" : "" },
    ...columns.map((column, k) => made(k < heads ? "th" : "td", {
      className: right[k] ? "number" : "", ...(k < heads ? { scope: "row" } : {}),
    }, told(row[column])))));
  table.replaceChildren(...(caption ? [made("caption", {}, caption)] : []),
    made("thead", {}, head), made("tbody", {}, ...body));
  table.rowsTold = { columns, rows };
}

/** Tables that no control changes but the outcome, and what stands below them. */
function showKept(name, sheets, lines) {
  const kept = by(`table-${name}`);
  if (kept.of === state.outcome) return;
  kept.of = state.outcome;
  for (const [place, sheet] of [[name, sheets[0]], [`${name}-2`, sheets[1]]]) {
    showTable(place, sheet ? sheet.rows : [], {
      heads: sheet ? sheet.heads : 1,
      caption: sheet ? [sheet.title, sheet.note].filter(Boolean).join(". ") : "",
    });
  }
  by(`lines-${name}`).replaceChildren(...lines.map((text) => made("p", {}, text)));
}

// Words -------------------------------------------------------------------------------------------

const quoted = (text) => (/^[\w.,:=+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** A command that gives the same numbers; `usual`, the therapist that it has if none is named. */
function command(name, parts, usual = state.therapist) {
  const { told } = now();
  const words = ["alliance", name, "RUN", "--outcome", quoted(told.name), ...parts];
  if (state.therapist !== usual) {
    const known = told.known[Number(state.therapist)];
    words.push("--therapist", !known ? state.therapist
      : known.asked ? quoted(known.asked) : `THERAPIST-${known.shown}`);
  }
  if (now().beyond(state.alliance) || unseenPatient()) words.push("--extrapolate");
  return words.join(" ").replace(/(--[a-z-]+) (?=-[\d.])/g, "$1="); // no option begins so
}

/** Whether the patient's baseline or a covariate was not observed. */
function unseenPatient() {
  const { told } = now(), outside = (value, ends) =>
    ends && value !== null && value !== undefined && (value < ends[0] || value > ends[1]);
  return outside(state.patient.baseline, told.baseline?.observed)
    || told.covariates.some(({ name, observed }) =>
      outside(state.patient.covariates[name]?.[0], observed));
}

const option = (name, value) => (value === null ? [] : [`--${name}`, String(value)]);

function effectsCommand() {
  const parts = [...option("alliance", state.alliance), ...option("threshold", state.by)];
  return command("effects", parts, "average");
}

function predictCommand() {
  const { alliance, patient, named, atLeast, atMost } = state;
  return command("predict", [
    ...option("alliance", alliance), ...option("baseline", patient.baseline),
    ...Object.entries(named).flatMap(([name, text]) => ["--covariate", quoted(`${name}=${text}`)]),
    ...option("at-least", atLeast), ...option("at-most", atMost),
    ...(state.by === null ? ["--contrasts"] : option("better-by", state.by)),
  ], "new");
}

/** Everything that is asked, in a line. */
function askedWords() {
  const { told } = now(), place = Number(state.therapist);
  const whose = state.therapist === "average" ? "an average therapist"
    : state.therapist === "new" ? "a new therapist, drawn for each draw of the posterior"
      : `therapist ${told.known[place].shown}`;
  const parts = [`${study.moderator.name} ${general(state.alliance)}${
    now().beyond(state.alliance) ? " (extrapolated)" : ""}`];
  if (told.recorded) parts.push(study.with_therapist.replace("{therapist}", whose).trim());
  if (state.by !== null) parts.push(`better by ${general(state.by)} or more`);
  return `${told.headed}: ${parts.filter(Boolean).join("; ")}.`;
}

// Pictures ----------------------------------------------------------------------------------------

const limitsOf = ({ points }) => [points.map((p) => p.lower), points.map((p) => p.upper)];

function bandOf({ points }, factor) {
  const bands = points.map((each) => band(each, factor));
  return [bands.map((each) => each.bandLower), bands.map((each) => each.bandUpper)];
}

/** Lines along the alliance. */
function showLines(name, { along }, label, further) {
  const { observed } = now().told.moderator, svg = by(`picture-${name}`);
  svg.scale = lineChart(svg, { grid: along.grid, observed, at: state.alliance, label, ...further });
}

/** Bars that no control changes but the outcome. */
function showBars(name, title, label) {
  const svg = by(`picture-${name}`), rows = now().told.intervals[name];
  const of = [state.outcome, widthOf(svg), colourOf(0)].join();
  svg.closest("figure").hidden = !rows.length;
  if (svg.of === of || !rows.length) return;
  svg.of = of;
  barChart(svg, rows, { name: title, label });
}

// Views -------------------------------------------------------------------------------------------

// Each shows what an answer holds, and gives its sentence and its command.
const VIEWS = {
  effect({ found, tables, said, told }) {
    const { label } = study.contrasts[state.contrast], pair = found.along.contrasts[state.contrast];
    showTable("effect", tables.contrasts, { heads: 2, chosen: state.contrast });
    showLines("effect", found, said.effect, {
      line: 0,
      names: [study.moderator.label, `Difference (${told.points}, ${told.better} is better)`],
      series: [{
        label: `${label}, ${study.interval.words} interval (dark) and band (light)`, colour: 0,
        mean: pair.points.map((p) => p.mean), inner: limitsOf(pair),
        outer: bandOf(pair, found.contrasts[state.contrast].factor),
      }],
    });
    return [said.effect, effectsCommand()];
  },
  arms({ found, tables, said, told }) {
    showTable("arms", tables.arms, { heads: 2 });
    showLines("arms", found, said.arms, {
      names: [study.moderator.label, `Expected score (${told.axis})`],
      series: found.along.arms.map((arm, k) => ({
        label: armLabel(k), colour: k, mean: arm.points.map((p) => p.mean), inner: limitsOf(arm),
      })),
    });
    return [said.arms, effectsCommand()];
  },
  benefit({ outcome, found, said, told }) {
    const chances = chancesAlong(outcome, found.along, state.contrast, state.by);
    showTable("benefit", decisionTable(outcome, state, decisions(outcome, state)),
      { heads: 2, caption: told.recorded ? "With an average therapist." : "" });
    showLines("benefit", found, said.benefit, {
      limits: [0, 1], names: [study.moderator.label, "Probability"],
      series: [{
        label: `${armLabel(study.contrasts[state.contrast].first)} better`, colour: 0,
        mean: chances.map((p) => p.better),
      }, ...(state.by === null ? [] : [{
        label: `better by ${general(state.by)} or more`, colour: 1,
        mean: chances.map((p) => p.betterBy),
      }])],
    });
    const asked = [...option("alliance", state.alliance), ...option("threshold", state.by)];
    return [said.benefit, command(state.by === null ? "effects" : "decide", asked)];
  },
  best({ found, tables, said }) {
    showTable("best", tables.arms.map((row) => ({
      ...Object.fromEntries(Object.entries(row).slice(0, 2)), "P(best)": row["P(best)"],
    })), { heads: 2 });
    showLines("best", found, said.best, {
      limits: [0, 1], names: [study.moderator.label, "Probability of the best score"],
      series: study.arms.map(({ label }, k) => ({
        label, colour: k, mean: found.along.best.map((p) => p[k]),
      })),
    });
    return [said.best, effectsCommand()];
  },
  slopes({ told }) {
    const { tables, lines, sentences } = told;
    const sentence = sentences.slopes.join(" ")
      || "The model has no interaction: the slopes of all arms are the same.";
    showKept("slopes", [tables.slopes, tables.crossings], [...lines.crossings, ...lines.about]);
    showBars("slopes", `${capital(told.points)} for one point of ${study.moderator.name}`,
      sentence);
    return [sentence, command("effects", [])];
  },
  therapists({ told }) {
    const { tables, lines } = told, sentence = told.sentences.therapists.join(" ");
    showKept("therapists", [tables.therapists, tables.spreads], lines.therapists);
    by("view-therapists").hidden = !tables.therapists && !tables.spreads;
    showBars("therapists", `Effect against an average therapist (${told.points})`, sentence);
    return [sentence, told.recorded ? command("therapists", []) : ""];
  },
  patient({ outcome, said, predicted }) {
    const { arms, contrasts } = predictionTables(outcome, state, predicted);
    showTable("patient", arms, { heads: 2 });
    showTable("patient-2", contrasts, { heads: 2, chosen: state.contrast });
    return [said.patient, predictCommand()];
  },
};

/** What is asked, answered as far as views ask for it. */
function answered(moving) {
  const outcome = now(), found = effects(outcome, state, !moving);
  const answer = { outcome, found, told: outcome.told };
  lazily(answer, "predicted", () => predictions(outcome, state));
  answer.tables = effectTables(outcome, state, found);
  answer.said = sentences(outcome, state, found, () => answer.predicted);
  return answer;
}

function show(name, answer) {
  const [sentence, line] = VIEWS[name](answer);
  by(`sentence-${name}`).textContent = typeset(sentence);
  by(`command-${name}`).replaceChildren(
    ...(line ? ["On the command line: ", made("code", {}, line)] : []));
}

/** Whether a view is on the screen. */
function inSight(name) {
  const { top, bottom } = by(`view-${name}`).getBoundingClientRect();
  return bottom > 0 && top < window.innerHeight;
}

/** Show what is asked. While a hand moves, in the views on the screen; when it rests, in all. */
function answer(moving) {
  const given = answered(moving), later = [];
  clearTimeout(settling);
  by("asked").textContent = typeset(askedWords());
  for (const name of Object.keys(VIEWS)) {
    const seen = !moving || inSight(name); // asked one by one: what is shown moves what follows
    if (seen) show(name, given);
    if (!seen || !given.found.whole) later.push(name);
  }
  if (moving) settling = setTimeout(settle, LATER / 2, later, null);
}

/** Show views one after the other, so that a hand that moves again is answered between them. */
function settle([name, ...others], given) {
  if (name === undefined) return;
  const rest = given ?? answered(false);
  show(name, rest);
  settling = setTimeout(settle, 0, others, rest);
}

// Files -------------------------------------------------------------------------------------------

function save(name, kind, text) {
  const link = made("a", {
    href: URL.createObjectURL(new Blob([text], { type: kind })), download: name,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function savePicture(name) {
  const copy = by(`picture-${name}`).cloneNode(true), [, , width, height] = copy
    .getAttribute("viewBox").split(" ");
  const title = `${study.simulated ? "SIMULATED DATA. " : ""}${askedWords()}`;
  copy.setAttribute("viewBox", `0 -24 ${width} ${Number(height) + 24}`);
  copy.setAttribute("xmlns", NAMESPACE);
  copy.setAttribute("font-family", "sans-serif");
  copy.setAttribute("color", "#1d2329");
  copy.removeAttribute("class");
  copy.prepend(drawn("rect", { y: -24, width, height: Number(height) + 24, fill: "#ffffff" }),
    drawn("text", { x: 8, y: -8 }, title));
  let text = new XMLSerializer().serializeToString(copy);
  ON_DARK.forEach((colour, k) => {
    text = text.replaceAll(colour, ON_PAPER[k]);
  });
  save(`${name}.svg`, "image/svg+xml", text);
}

function saveTable(name) {
  const cell = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const safe = (text) => (/^[=+@]|^-(?!\d)/.test(text) ? `'${text}` : text); // no formula
  const told = [by(`table-${name}`), by(`table-${name}-2`)].filter((each) => each?.rowsTold);
  const lines = told.flatMap(({ rowsTold: { columns, rows } }, k) => [
    ...(k ? [[]] : []),
    [...(study.simulated ? ["Data"] : []), ...columns],
    ...rows.map((row) => [...(study.simulated ? ["SIMULATED"] : []),
      ...columns.map((head) => safe(row[head] ?? ""))]),
  ]);
  const text = lines.map((line) => line.map(cell).join(",")).join("\r\n");
  save(`${name}.csv`, "text/csv", `\ufeff${text}\r\n`);
}
