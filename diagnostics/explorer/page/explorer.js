// The page: controls, the address that keeps what is asked, and the views that answer.

const study = JSON.parse(document.getElementById("held").textContent);
const by = (name) => document.getElementById(name);
const outcomes = study.outcomes.map((told) => new Outcome(told, study));
const VIEWS = ["effect", "arms", "benefit", "best", "slopes", "therapists", "patient"];
const LATER = 250; // milliseconds after which an address is written and a sentence read out
let state, waiting = null, settling = null;

const now = () => outcomes[state.outcome];
const numeric = (text) => (text.trim() === "" || !Number.isFinite(Number(text)) ? null : Number(text));

/** An HTML element with properties and what it holds. */
function made(name, properties = {}, ...within) {
  const found = Object.assign(document.createElement(name), properties);
  found.append(...within);
  return found;
}

function beginning(outcome = 0) {
  return {
    outcome, contrast: 0, alliance: outcomes[outcome].told.moderator.start, beyond: false,
    therapist: "average", by: outcomes[outcome].told.yardstick?.[0] ?? null, atLeast: null, atMost: null,
    patient: { baseline: null, covariates: {} }, named: {},
  };
}

// The address -----------------------------------------------------------------------------------

function address() {
  const told = now().told, parts = new URLSearchParams();
  parts.set("outcome", told.name);
  parts.set("contrast", study.contrasts[state.contrast].name);
  parts.set("alliance", String(state.alliance));
  if (state.beyond) parts.set("extrapolate", "yes");
  if (state.therapist !== "average") {
    const place = Number(state.therapist);
    parts.set("therapist", Number.isNaN(place) ? state.therapist : `known ${place + 1}`);
  }
  for (const [name, value] of [
    ["threshold", state.by], ["at-least", state.atLeast], ["at-most", state.atMost],
    ["baseline", state.patient.baseline],
  ]) if (value !== null) parts.set(name, String(value));
  for (const [name, text] of Object.entries(state.named)) parts.set(`covariate.${name}`, text);
  return `#${parts}`;
}

/** What an address asks; what it does not say, or says wrongly, stands as at the beginning. */
function read(hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, "")), wrong = [];
  const place = outcomes.findIndex(({ told }) => told.name === parts.get("outcome"));
  if (parts.has("outcome") && place < 0) wrong.push(`outcome ${parts.get("outcome")}`);
  const asked = beginning(Math.max(0, place)), outcome = outcomes[asked.outcome], { told } = outcome;
  const contrast = study.contrasts.findIndex(({ name }) => name === parts.get("contrast"));
  if (contrast >= 0) asked.contrast = contrast;
  else if (parts.has("contrast")) wrong.push(`contrast ${parts.get("contrast")}`);
  const take = (name, low, high) => {
    if (!parts.has(name)) return null;
    const value = numeric(parts.get(name));
    if (value !== null && value >= low && value <= high) return value;
    wrong.push(`${name} ${parts.get(name)}`);
    return null;
  };
  const alliance = take("alliance", ...limits(told));
  if (alliance !== null) asked.alliance = alliance;
  asked.beyond = parts.get("extrapolate") === "yes" || outcome.beyond(asked.alliance);
  const whose = parts.get("therapist");
  const known = whose && whose.startsWith("known ") ? Number(whose.slice(6)) - 1 : NaN;
  if (whose === "new") asked.therapist = "new";
  else if (told.known[known]) asked.therapist = String(known);
  else if (whose && whose !== "average") wrong.push(`therapist ${whose}`);
  const [low, high] = told.range, width = high - low;
  if (hash.length > 1) asked.by = take("threshold", -width, width);
  asked.atLeast = take("at-least", low, high);
  asked.atMost = take("at-most", low, high);
  if (told.baseline) asked.patient.baseline = take("baseline", ...told.baseline.range);
  for (const covariate of told.covariates) {
    const text = parts.get(`covariate.${covariate.name}`);
    if (text !== null && !setCovariate(asked, covariate, text)) {
      wrong.push(`${covariate.name} ${text}`);
    }
  }
  by("problem").textContent = wrong.length
    ? `The address asks what there is not: ${wrong.join(", ")}.` : "";
  return asked;
}

/** Lowest and highest alliance that can be asked about. */
function limits(told) {
  const [low, high] = study.moderator.range, [from, to] = told.moderator.observed;
  return [Math.min(low, from), Math.max(high, to)];
}

/** Set a covariate to a number or a level, or back to the mean; false where it has no such value. */
function setCovariate(asked, covariate, text) {
  delete asked.named[covariate.name];
  delete asked.patient.covariates[covariate.name];
  if (text === "") return true;
  let values;
  if (covariate.levels) {
    const place = covariate.levels.findIndex(([level]) => level === text);
    if (place < 0) return false;
    values = covariate.values[place];
  } else {
    const value = numeric(text);
    if (value === null) return false;
    values = [value];
  }
  asked.named[covariate.name] = text;
  asked.patient.covariates[covariate.name] = values;
  return true;
}

// Controls --------------------------------------------------------------------------------------

function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => made("option", { value }, text)));
  select.value = chosen;
}

/** Have the controls show the state. */
function showControls() {
  const { told } = now();
  by("control-outcome").hidden = outcomes.length < 2;
  options(by("outcome"), outcomes.map((each, k) => [String(k), each.told.label]),
    String(state.outcome));
  options(by("contrast"), study.contrasts.map(({ label }, k) => [String(k), label]),
    String(state.contrast));
  const whose = [["average", "an average one"], ["new", "a new one"],
    ...told.known.map(({ shown }, k) => [String(k), `therapist ${shown}`])];
  by("control-therapist").hidden = !told.recorded;
  options(by("therapist"), whose, state.therapist);
  by("therapist-note").textContent = study.left_out;
  by("by-unit").textContent = told.unit[1] === "percentage points" ? "of 0 to 1" : told.points;
  showAlliance();
  by("by").value = state.by ?? "";
  if (told.yardstick) {
    by("by-note").textContent = `The study file names ${general(told.yardstick[0])} (${
      told.yardstick[1]}).`;
  } else {
    by("by-note").textContent = "No difference is the default: name one that matters.";
  }
  by("at-least").value = state.atLeast ?? "";
  by("at-most").value = state.atMost ?? "";
  const can = Boolean(told.single && told.single.chances);
  by("control-at-least").hidden = by("control-at-most").hidden = !can;
  by("chances-note").hidden = can;
  by("chances-note").textContent = can ? "" : "Chances of single scores of this outcome take more "
    + "than this page counts with: alliance predict --at-least tells them.";
  showPatient();
}

function showAlliance() {
  const { told } = now(), [low, high] = state.beyond ? limits(told) : told.moderator.observed;
  const { step } = told.moderator, name = study.moderator.name;
  by("alliance-name").textContent = `${capital(name)}, ${general(low)} to ${general(high)}`;
  for (const control of [by("alliance-slider"), by("alliance")]) {
    control.min = low;
    control.max = high;
  }
  by("alliance-slider").step = step;
  by("alliance-slider").value = state.alliance;
  if (document.activeElement !== by("alliance")) by("alliance").value = state.alliance;
  by("beyond").checked = state.beyond;
  by("extrapolated").hidden = !now().beyond(state.alliance);
}

/** Controls of the patient's baseline and covariates. */
function showPatient() {
  const { told } = now(), place = by("patient-controls");
  const field = (id, label, control) =>
    made("div", { className: "control" }, made("label", { htmlFor: id }, label), control);
  const numberOf = (id, ends, value, change) => {
    const control = made("input", {
      type: "number", id, step: "any", inputMode: "decimal", placeholder: "the mean",
      value: value ?? "",
    });
    control.addEventListener("input", () => change(control.value));
    return control;
  };
  const between = (ends) => (ends ? `, ${general(ends[0])} to ${general(ends[1])}` : "");
  const found = [];
  if (told.baseline) {
    const ends = told.baseline.observed ?? told.baseline.range;
    found.push(field("baseline", `Baseline${between(ends)}`, numberOf(
      "baseline", ends, state.patient.baseline, (text) => {
        const value = numeric(text), [low, high] = state.beyond ? told.baseline.range : ends;
        if (value !== null && (value < low || value > high)) {
          refuse(`A baseline of ${general(value)} was not observed.`);
          return;
        }
        state.patient.baseline = value;
        changed();
      })));
  }
  told.covariates.forEach((covariate, k) => {
    const id = `covariate-${k}`, chosen = state.named[covariate.name] ?? "";
    const set = (text) => {
      const value = numeric(text), ends = covariate.observed;
      if (ends && value !== null && !state.beyond && (value < ends[0] || value > ends[1])) {
        refuse(`${covariate.name}: ${general(value)} was not observed.`);
        return;
      }
      setCovariate(state, covariate, text);
      changed();
    };
    let control;
    if (covariate.levels) {
      control = made("select", { id });
      options(control, [["", "the commonest"], ...covariate.levels], chosen);
      control.addEventListener("change", () => set(control.value));
    } else control = numberOf(id, covariate.observed, chosen, set);
    found.push(field(id, `${covariate.name}${between(covariate.observed)}`, control));
  });
  place.replaceChildren(...found);
}

function refuse(text) {
  by("problem").textContent = text;
}

/** Answer anew, at once; keep the address and read the sentence when the hand rests. */
function changed({ dragging = false } = {}) {
  by("problem").textContent = "";
  answer(dragging);
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    history.replaceState(null, "", address());
    by("said").textContent = by("sentence-effect").textContent;
  }, LATER);
}

function setAlliance(value, dragging = false) {
  const { told } = now(), [low, high] = state.beyond ? limits(told) : told.moderator.observed;
  if (value === null || value < low || value > high) {
    refuse(`Ask for values from ${general(low)} to ${general(high)}${
      state.beyond ? "" : ", or beyond the observed ones"}.`);
    return;
  }
  state.alliance = value;
  showAlliance();
  changed({ dragging });
}

/** A value of the alliance from a place in a picture. */
function draggable(svg) {
  const move = (event) => {
    if (!svg.scale || (event.type === "pointermove" && !event.buttons)) return;
    const ends = svg.getBoundingClientRect(), width = svg.viewBox.baseVal.width;
    const { step } = now().told.moderator, [low, high] = limitsNow();
    const value = svg.scale.back(((event.clientX - ends.left) * width) / ends.width);
    const round = Number((Math.round(value / step) * step).toPrecision(12));
    setAlliance(Math.min(high, Math.max(low, round)), true);
  };
  svg.classList.add("dragged");
  for (const type of ["pointerdown", "pointermove"]) svg.addEventListener(type, move);
}

const limitsNow = () => (state.beyond ? limits(now().told) : now().told.moderator.observed);

function listen() {
  by("outcome").addEventListener("change", (event) => {
    const { contrast, alliance, beyond } = state;
    state = { ...beginning(Number(event.target.value)), contrast };
    if (beyond || !now().beyond(alliance)) Object.assign(state, { alliance, beyond });
    showControls();
    changed();
  });
  by("contrast").addEventListener("change", (event) => {
    state.contrast = Number(event.target.value);
    changed();
  });
  by("therapist").addEventListener("change", (event) => {
    state.therapist = event.target.value;
    changed();
  });
  by("alliance-slider").addEventListener("input", (event) => {
    setAlliance(Number(event.target.value), true);
  });
  by("alliance").addEventListener("input", (event) => setAlliance(numeric(event.target.value)));
  by("alliance").addEventListener("blur", showAlliance);
  by("beyond").addEventListener("change", (event) => {
    state.beyond = event.target.checked;
    if (!state.beyond && now().beyond(state.alliance)) {
      const [low, high] = now().told.moderator.observed;
      state.alliance = Math.min(high, Math.max(low, state.alliance));
    }
    showAlliance();
    changed();
  });
  for (const [id, name] of [["by", "by"], ["at-least", "atLeast"], ["at-most", "atMost"]]) {
    by(id).addEventListener("input", (event) => {
      const value = numeric(event.target.value), [low, high] = now().told.range;
      const ends = name === "by" ? [low - high, high - low] : [low, high];
      if (value !== null && (value < ends[0] || value > ends[1])) {
        refuse(`Give a number from ${general(ends[0])} to ${general(ends[1])}.`);
        return;
      }
      state[name] = value;
      changed();
    });
  }
  by("reset").addEventListener("click", () => {
    state = beginning(state.outcome);
    showControls();
    changed();
  });
  by("print").addEventListener("click", () => window.print());
  by("controls").addEventListener("submit", (event) => event.preventDefault());
  by("skip").addEventListener("click", (event) => {
    event.preventDefault();
    by("answers").focus();
  });
  window.addEventListener("hashchange", () => {
    if (location.hash === address()) return;
    state = read(location.hash);
    showControls();
    answer(false);
  });
  window.addEventListener("resize", () => answer(false));
  dark.addEventListener("change", () => answer(false));
  for (const [name, value] of [["beforeprint", true], ["afterprint", false]]) {
    window.addEventListener(name, () => {
      printing = value;
      answer(false);
    });
  }
  for (const name of ["effect", "arms", "benefit", "best"]) draggable(by(`picture-${name}`));
  for (const button of document.querySelectorAll("button[data-picture]")) {
    button.addEventListener("click", () => savePicture(button.dataset.picture));
  }
  for (const button of document.querySelectorAll("button[data-table]")) {
    button.addEventListener("click", () => saveTable(button.dataset.table));
  }
}

// Views -----------------------------------------------------------------------------------------

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
  const told = (text) => (text ? text.replace(/(^|[\s(])-(?=\d)/g, "$1\u2212") : study.empty);
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

const quoted = (text) => (/^[\w.,:=+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** A command that gives the same numbers. */
function command(name, parts) {
  const { told } = now(), place = Number(state.therapist);
  const words = ["alliance", name, "RUN", "--outcome", quoted(told.name), ...parts];
  if (parts.therapist !== undefined && !Number.isNaN(place)) {
    const { asked, shown } = told.known[place];
    words.push("--therapist", asked ? quoted(asked) : `THERAPIST-${shown}`);
  } else if (parts.therapist !== undefined && parts.therapist !== state.therapist) {
    words.push("--therapist", state.therapist);
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

const withTherapist = (parts, usual) => Object.assign(parts, { therapist: usual });

function commands() {
  const at = ["--alliance", String(state.alliance)], { told } = now();
  const threshold = state.by === null ? [] : ["--threshold", String(state.by)];
  const along = command("effects", withTherapist([...at, ...threshold], "average"));
  const patient = [...at];
  if (state.patient.baseline !== null) patient.push("--baseline", String(state.patient.baseline));
  for (const [name, text] of Object.entries(state.named)) {
    patient.push("--covariate", quoted(`${name}=${text}`));
  }
  if (state.atLeast !== null) patient.push("--at-least", String(state.atLeast));
  if (state.atMost !== null) patient.push("--at-most", String(state.atMost));
  const compared = state.by === null ? ["--contrasts"] : ["--better-by", String(state.by)];
  const decided = command("decide", [...at, ...threshold]);
  return {
    effect: along, arms: along, best: along,
    benefit: state.by === null ? along : decided,
    slopes: command("effects", []),
    therapists: told.recorded ? command("therapists", []) : "",
    patient: command("predict", withTherapist([...patient, ...compared], "new")),
  };
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

/** Whether a view is on the screen, or all are to be made. */
const inSight = (name) => {
  const { top, bottom } = by(`view-${name}`).getBoundingClientRect();
  return bottom > 0 && top < window.innerHeight;
};

/** Tables and pictures of what is asked; while a hand moves, of the views on the screen alone. */
function answer(dragging) {
  const outcome = now(), { told } = outcome;
  clearTimeout(settling);
  by("asked").textContent = askedWords();
  if (dragging) {
    settling = setTimeout(() => answer(false), LATER / 2);
    if (outcome.beyond(state.alliance) && by("table-effect").rowsTold) return; // its curve is stretched: made when the hand rests
  }
  const seen = Object.fromEntries(VIEWS.map((name) => [name, !dragging || inSight(name)]));
  const found = effects(outcome, state);
  const predicted = seen.patient ? predictions(outcome, state) : null;
  const tables = effectTables(outcome, state, found), lines = commands();
  const said = sentences(outcome, state, found, predicted);
  if (seen.effect) showTable("effect", tables.contrasts, { heads: 2, chosen: state.contrast });
  if (seen.arms) showTable("arms", tables.arms, { heads: 2 });
  if (seen.best) {
    showTable("best", tables.arms.map((row) => ({
      ...Object.fromEntries(Object.entries(row).slice(0, 2)), "P(best)": row["P(best)"],
    })), { heads: 2 });
  }
  if (seen.benefit) {
    showTable("benefit", decisionTable(outcome, state, decisions(outcome, state)),
      { heads: 2, caption: told.recorded ? "With an average therapist." : "" });
  }
  if (predicted) {
    const patient = predictionTables(outcome, state, predicted);
    showTable("patient", patient.arms, { heads: 2 });
    showTable("patient-2", patient.contrasts, { heads: 2, chosen: state.contrast });
  }
  for (const name of ["slopes", "therapists"]) showKept(name);
  said.slopes = told.sentences.slopes.join(" ")
    || "The model has no interaction: the slopes of all arms are the same.";
  said.therapists = told.sentences.therapists.join(" ");
  for (const name of VIEWS.filter((each) => seen[each])) {
    by(`sentence-${name}`).textContent = said[name];
    by(`command-${name}`).replaceChildren(
      ...(lines[name] ? ["On the command line: ", made("code", {}, lines[name])] : []));
  }
  draw(outcome, found, said, seen);
}

/** Tables that no control changes but the outcome. */
function showKept(name) {
  const { tables, lines } = now().told;
  const [first, second] = name === "slopes"
    ? [tables.slopes, tables.crossings] : [tables.therapists, tables.spreads];
  const kept = by(`table-${name}`);
  if (kept.of === state.outcome) return;
  kept.of = state.outcome;
  by(`view-${name}`).hidden = !first && !second && name !== "slopes";
  for (const [place, sheet] of [[name, first], [`${name}-2`, second]]) {
    showTable(place, sheet ? sheet.rows : [], {
      heads: sheet ? sheet.heads : 1, caption: sheet ? [sheet.title, sheet.note].filter(Boolean).join(". ") : "",
    });
  }
  const told = name === "slopes" ? [...lines.crossings, ...lines.about] : lines.therapists;
  by(`lines-${name}`).replaceChildren(...told.map((text) => made("p", {}, text)));
}

function draw(outcome, found, said, seen) {
  const { told } = outcome, { along } = found, { grid } = along, { observed } = told.moderator;
  const shared = { grid, observed, at: state.alliance };
  const chosen = study.contrasts[state.contrast], pair = along.contrasts[state.contrast];
  const { factor } = found.contrasts[state.contrast];
  const limitsOf = ({ points }) => [points.map((p) => p.lower), points.map((p) => p.upper)];
  const bandOf = ({ points }, times) => {
    const each = points.map((p) => band(p, times));
    return [each.map((p) => p.bandLower), each.map((p) => p.bandUpper)];
  };
  const { label } = study.moderator, { words } = study.interval;
  const picture = (name, further) => {
    const svg = by(`picture-${name}`);
    svg.scale = lineChart(svg, { ...shared, label: said[name], ...further });
  };
  if (seen.effect) {
    picture("effect", {
      line: 0, names: [label, `Difference (${told.points}, ${told.better} is better)`],
      series: [{
        label: `${chosen.label}, ${words} interval (dark) and band (light)`, colour: 0,
        mean: pair.points.map((p) => p.mean), inner: limitsOf(pair), outer: bandOf(pair, factor),
      }],
    });
  }
  if (seen.arms) {
    picture("arms", {
      names: [label, `Expected score (${told.axis})`],
      series: along.arms.map((arm, k) => ({
        label: study.arms[k].label, colour: k, mean: arm.points.map((p) => p.mean),
        inner: limitsOf(arm),
      })),
    });
  }
  if (seen.benefit) {
    const chances = chancesAlong(outcome, along, state.contrast, state.by);
    picture("benefit", {
      limits: [0, 1], names: [label, "Probability"],
      series: [
        { label: `${arm(chosen.first)} better`, colour: 0, mean: chances.map((p) => p.better) },
        ...(state.by === null ? [] : [{
          label: `better by ${general(state.by)} or more`, colour: 1,
          mean: chances.map((p) => p.betterBy),
        }]),
      ],
    });
  }
  if (seen.best) {
    picture("best", {
      limits: [0, 1], names: [label, "Probability of the best score"],
      series: study.arms.map((each, k) => ({
        label: each.label, colour: k, mean: along.best.map((p) => p[k]),
      })),
    });
  }
  for (const [name, title] of [
    ["slopes", `${capital(told.points)} for one point of ${study.moderator.name}`],
    ["therapists", `Effect against an average therapist (${told.points})`],
  ]) {
    const svg = by(`picture-${name}`), rows = told.intervals[name];
    const of = [state.outcome, svg.parentElement.clientWidth, colourOf(0)].join();
    svg.closest("figure").hidden = !rows.length;
    if (svg.of === of || !rows.length) continue;
    svg.of = of;
    barChart(svg, rows, { name: title, label: said[name] });
  }
}

const arm = (k) => study.arms[k].label;

// Files -----------------------------------------------------------------------------------------

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

state = read(location.hash);
showControls();
listen();
answer(true); // the views below the screen follow at once
document.documentElement.dataset.ready = "yes";
