// The page: controls, and the address that keeps what is asked.

const numeric = (text) => (text.trim() === "" || !Number.isFinite(Number(text)) ? null : Number(text));

function beginning(outcome = 0) {
  return {
    outcome, contrast: 0, alliance: outcomes[outcome].told.moderator.start, beyond: false,
    therapist: "average", by: outcomes[outcome].told.yardstick?.[0] ?? null,
    atLeast: null, atMost: null, patient: { baseline: null, covariates: {} }, named: {},
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

state = read(location.hash);
showControls();
listen();
answer(true); // the views below the screen follow at once
document.documentElement.dataset.ready = "yes";
