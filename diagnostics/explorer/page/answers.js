// Answers: what the commands `effects`, `decide` and `predict` print, by the same headings, digits
// and words. A state says what is asked: outcome, alliance, therapist, thresholds, one patient.

const GRID = 41; // values that curve and band are computed at, as `alliance effects` has them
const LATER_TOLD = "\u2026"; // a band that is told when the hand rests
const MARK = "*"; // beside a value outside what was observed
const CERTAIN = 0.975; // the probability of a direction that a sentence may claim

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1).toLowerCase();

function values(low, high, count = GRID) {
  const step = (high - low) / (count - 1);
  return Array.from({ length: count }, (_, k) => (k === count - 1 ? high : low + k * step));
}

/** A curve's point: its draws in numbers, with what its band is made of. */
function point(draws, tails) {
  const [lower, median, upper] = quantiles(draws, [tails[0], 0.5, tails[1]]);
  return { mean: mean(draws), lower, median, upper };
}

/** Raise each draw's largest deviation so far to that from this point. */
function deviate(furthest, draws, { lower, median, upper }) {
  const above = upper - median, below = median - lower;
  for (let k = 0; k < draws.length; k++) {
    const away = draws[k] - median, distance = away > 0 ? above : below;
    if (distance > 0) {
      const found = Math.abs(away) / distance;
      if (found > furthest[k]) furthest[k] = found;
    }
  }
}

const band = ({ lower, median, upper }, factor) => ({
  bandLower: median - factor * (median - lower),
  bandUpper: median + factor * (upper - median),
});

/** The differences of all pairs of arms. */
function differences(arms, study) {
  return study.contrasts.map(({ first, second }) => difference(arms[first], arms[second]));
}

/** The chance that each arm has the best score of all. */
function best(arms, direction) {
  const found = arms.map(() => 0), total = arms[0].length;
  for (let k = 0; k < total; k++) {
    let winner = 0;
    for (let arm = 1; arm < arms.length; arm++) {
      if (direction * arms[arm][k] > direction * arms[winner][k]) winner = arm;
    }
    found[winner]++;
  }
  return found.map((count) => count / total);
}

/** An object with a property that is made when it is first asked for. */
function lazily(object, name, make) {
  return Object.defineProperty(object, name, {
    configurable: true,
    get() {
      const value = make();
      Object.defineProperty(object, name, { value });
      return value;
    },
  });
}

/** A curve: its points, and each draw's largest deviation. Its draws at one value are `drawsOf`. */
function curve(draws, drawsOf, tails) {
  const furthest = new Float64Array(draws[0][0].length);
  const points = draws.map((arms) => {
    const each = drawsOf(arms), own = point(each, tails);
    deviate(furthest, each, own);
    return own;
  });
  return { points, furthest };
}

/** Expected scores and contrasts along the alliance, with what holds for all of its values. */
function curves(outcome, therapist, ends) {
  const key = JSON.stringify([therapist, ends]);
  if (outcome.curves.has(key)) return outcome.curves.get(key);
  const { study, told: { direction, moderator: { drawn } } } = outcome;
  const { tails } = study.interval;
  const grid = [...new Set([...values(...ends), ...drawn])].sort((a, b) => a - b);
  const draws = grid.map((value) => outcome.averages(therapist, value));
  const found = { grid, draws };
  lazily(found, "best", () => draws.map((arms) => best(arms, direction)));
  const place = new Float64Array(outcome.told.draws);
  lazily(found, "arms", () => study.arms.map((_, k) => curve(draws, (arms) => arms[k], tails)));
  lazily(found, "contrasts", () => study.contrasts.map(({ first, second }) =>
    curve(draws, (arms) => difference(arms[first], arms[second], place), tails)));
  if (outcome.curves.size > 1) outcome.curves.delete(outcome.curves.keys().next().value);
  outcome.curves.set(key, found);
  return found;
}

/**
 * Everything that is said at one alliance: rows of arms and contrasts, with bands.
 *
 * A curve reaches to the alliance that is asked about, or without `stretched` no further than it is
 * usually drawn: there is no band yet at an alliance beyond it, and the answer is not `whole`.
 */
function effects(outcome, { alliance, therapist, by }, stretched = true) {
  const { study, told: { direction } } = outcome, { tails, share: level } = study.interval;
  const [low, high] = outcome.told.moderator.drawn;
  const whole = stretched || (alliance >= low && alliance <= high);
  const ends = whole ? [Math.min(low, alliance), Math.max(high, alliance)] : [low, high];
  const along = curves(outcome, therapist, ends);
  const arms = outcome.averages(therapist, alliance);
  const row = (draws, { furthest }) => {
    const own = point(draws, tails), all = new Float64Array(furthest);
    if (whole) deviate(all, draws, own);
    const factor = Math.max(1, inverted(all, level));
    return { ...own, sd: spread(draws), ...(whole ? band(own, factor) : {}), factor };
  };
  const found = { along, whole };
  lazily(found, "arms", () => {
    const chances = best(arms, direction);
    return arms.map((draws, k) => ({ ...row(draws, along.arms[k]), best: chances[k] }));
  });
  return lazily(found, "contrasts", () => differences(arms, study).map((draws, k) => ({
    ...row(draws, along.contrasts[k]), ...judged(draws, direction, by),
  })));
}

/** Along the alliance: the chances that one arm is better than another, at all and by so much. */
function chancesAlong(outcome, along, contrast, by) {
  const key = `${contrast} ${by}`;
  if (along.chances?.key !== key) {
    const { first, second } = outcome.study.contrasts[contrast], { direction } = outcome.told;
    const place = new Float64Array(outcome.told.draws);
    const found = along.draws.map((arms) =>
      judged(difference(arms[first], arms[second], place), direction, by));
    along.chances = { key, found };
  }
  return along.chances.found;
}

/** What draws of a difference say about a benefit. */
function judged(draws, direction, by) {
  return {
    positive: share(draws, (x) => x > 0),
    better: share(draws, (x) => direction * x > 0),
    betterBy: by === null ? NaN : share(draws, (x) => direction * x >= by),
  };
}

/** Effects at the patients' own alliance, and at one value, of an average therapist. */
function decisions(outcome, { alliance, by }) {
  const { study, told: { direction } } = outcome, { tails } = study.interval;
  const own = (outcome.own ??= differences(outcome.ownAverages(), study));
  const at = differences(outcome.averages("average", alliance), study);
  return study.contrasts.map((_, k) =>
    [own[k], at[k]].map((draws) => ({
      ...described(draws, tails), ...judged(draws, direction, by),
    })),
  );
}

/** One patient in every arm: expected scores, single scores, chances; and the arms compared. */
function predictions(outcome, { alliance, therapist, by, patient, atLeast, atMost }) {
  const { study, told: { direction, single } } = outcome, { tails } = study.interval;
  const predictors = outcome.predictors(therapist, alliance, patient);
  const expected = outcome.expected(predictors);
  const scores = single ? outcome.scores(predictors, therapist) : null;
  const can = single && single.chances;
  const arms = expected.map((draws, arm) => ({
    ...described(draws, tails),
    single: scores ? quantiles(scores[arm], tails) : null,
    atLeast: can && atLeast !== null ? outcome.reached(predictors[arm], arm, atLeast, 1) : NaN,
    atMost: can && atMost !== null ? outcome.reached(predictors[arm], arm, atMost, -1) : NaN,
  }));
  let recorded = scores;
  const [low, high, step] = single ? single.steps : [0, 0, 0];
  if (step) {
    const last = Math.floor((high - low) / step + 1e-3);
    const place = (x) => Math.min(last, Math.max(0, nearest((x - low) / step)));
    recorded = scores.map((each) => each.map((x) => low + place(x) * step));
  }
  const slack = 1e-3 * step, pairs = differences(expected, study);
  const contrasts = pairs.map((draws, k) => {
    const { first, second } = study.contrasts[k];
    const found = { ...described(draws, tails), ...judged(draws, direction, by) };
    if (recorded) {
      const between = difference(recorded[first], recorded[second]);
      found.single = share(between, (x) => direction * x > slack);
      found.singleBy = by === null ? NaN : share(between, (x) => direction * x >= by - slack);
    }
    return found;
  });
  return { arms, contrasts };
}

// Tables ------------------------------------------------------------------------------------------

const byWords = (by) => `P(by ${general(by)})`;

const place = (outcome, alliance, told) => told + (outcome.beyond(alliance) ? MARK : "");

function effectTables(outcome, state, found) {
  const { study } = outcome, level = study.interval.words, head = capital(study.moderator.name);
  const value = place(outcome, state.alliance, general(state.alliance, 5));
  const cells = (label, name, row, further) => {
    const digits = sharedDecimals([row.sd]);
    return {
      [name]: label,
      [head]: value,
      Mean: number(row.mean, digits),
      ...further,
      [`${level} interval`]: span(row.lower, row.upper, digits),
      [`${level} band`]: found.whole ? span(row.bandLower, row.bandUpper, digits) : LATER_TOLD,
    };
  };
  const chances = (row) => ({
    "P(better)": chance(row.better),
    ...(state.by === null ? {} : { [byWords(state.by)]: chance(row.betterBy) }),
  });
  const tables = {};
  lazily(tables, "contrasts", () => found.contrasts.map((row, k) =>
    cells(study.contrasts[k].label, "Contrast", row, chances(row))));
  return lazily(tables, "arms", () => found.arms.map((row, k) =>
    cells(study.arms[k].label, "Arm", row, { "P(best)": chance(row.best) })));
}

/** As `decide` has it, or where no difference is named, which it asks for, as `effects` has it. */
function decisionTable(outcome, state, found) {
  const { study } = outcome, level = study.interval.words, head = capital(study.moderator.name);
  const value = place(outcome, state.alliance, general(state.alliance, 5));
  return found.flatMap(([own, there], k) => {
    const rows = state.by === null ? [there] : [own, there];
    const digits = sharedDecimals(rows.map((row) => row.sd));
    return rows.map((row) => ({
      Contrast: study.contrasts[k].label,
      [head]: row === own ? "own" : value,
      Mean: number(row.mean, digits),
      [`${level} interval`]: span(row.lower, row.upper, digits),
      "P(better)": chance(row.better),
      ...(state.by === null ? {} : { [byWords(state.by)]: chance(row.betterBy) }),
    }));
  });
}

function predictionTables(outcome, state, found) {
  const { study } = outcome, level = study.interval.words, head = capital(study.moderator.name);
  const value = place(outcome, state.alliance, short(state.alliance));
  const shared = (rows) => decimals(Math.min(...rows.map((row) => row.sd)), rows[0].mean);
  const digits = shared(found.arms), between = shared(found.contrasts);
  const { single } = outcome.told, { by, atLeast, atMost } = state;
  const can = single && single.chances;
  return {
    arms: found.arms.map((row, k) => ({
      Arm: study.arms[k].label,
      [head]: value,
      "Expected score": number(row.mean, digits),
      [`${level} interval`]: span(row.lower, row.upper, digits),
      ...(can && atLeast !== null ? { [`P(>= ${general(atLeast)})`]: chance(row.atLeast) } : {}),
      ...(can && atMost !== null ? { [`P(<= ${general(atMost)})`]: chance(row.atMost) } : {}),
      ...(single ? { [`${level} of single scores`]: span(...row.single, digits) } : {}),
    })),
    contrasts: found.contrasts.map((row, k) => ({
      Contrast: study.contrasts[k].label,
      [head]: value,
      Difference: number(row.mean, between),
      [`${level} interval`]: span(row.lower, row.upper, between),
      "P(better)": chance(row.better),
      ...(by === null ? {} : { [byWords(by)]: chance(row.betterBy) }),
      ...(single ? { "Single score: P(better)": chance(row.single) } : {}),
      ...(single && by !== null
        ? { [`Single score: ${byWords(by)}`]: chance(row.singleBy) } : {}),
    })),
  };
}

// Sentences ---------------------------------------------------------------------------------------

/** A difference in points of improvement: what is above zero is for the better. */
function improvement(row, outcome) {
  const { direction, unit: [by, unit] } = outcome.told;
  const ends = [direction * by * row.lower, direction * by * row.upper].sort((a, b) => a - b);
  return {
    mean: direction * by * row.mean, lower: ends[0], upper: ends[1],
    chance: direction > 0 ? row.positive : 1 - row.positive,
    digits: Math.max(0, decimals(by * row.sd, by * row.mean)),
    level: outcome.study.interval.words, unit,
  };
}

const turned = (found) => ({
  ...found, mean: -found.mean, lower: -found.upper, upper: -found.lower, chance: 1 - found.chance,
});

function size(found) {
  const told = number(Math.abs(found.mean), found.digits);
  return told === "1" && found.unit === "points" ? "1 point" : `${told} ${found.unit}`;
}

function spanned({ lower, upper, digits, unit }) {
  const low = number(Math.abs(lower), digits), high = number(Math.abs(upper), digits);
  if (lower < 0 === upper < 0) {
    const [from, to] = upper > 0 ? [low, high] : [high, low];
    return `${from} to ${to} ${unit} ${upper > 0 ? "better" : "worse"}`;
  }
  return `${low} ${unit} worse to ${high} ${unit} better`;
}

/** Which of two arms is better: no direction is claimed below a probability of .975. */
function contrastSentence(found, first, second, where) {
  if (Math.max(found.chance, 1 - found.chance) < CERTAIN) {
    return `Whether ${first} or ${second} is better${where} these data cannot tell: scores with `
      + `${first} are ${spanned(found)} than with ${second} (${found.level} interval); the `
      + `probability that they are better is ${chance(found.chance)}.`;
  }
  if (found.mean < 0) return contrastSentence(turned(found), second, first, where);
  return `Scores with ${first} are better than with ${second}${where}: by ${size(found)} on `
    + `average (${found.level} interval ${spanned(found)}; probability of this direction `
    + `${chance(found.chance)}).`;
}

const listed = (parts) =>
  parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;

function sentences(outcome, state, found, predictedOf) {
  const { study, told } = outcome, { moderator, contrasts, arms } = study;
  const chosen = contrasts[state.contrast], row = found.contrasts[state.contrast];
  const where = ` at ${moderator.name} ${figures(state.alliance)}`;
  const labels = [chosen.first, chosen.second].map((k) => arms[k].label);
  const points = (by) => told.unit[1] !== "points" ? general(by)
    : by === 1 ? "1 point" : `${general(by)} points`;
  const said = {
    effect: contrastSentence(improvement(row, outcome), ...labels, where),
    benefit: state.by === null
      ? `The probability that ${labels[0]} is better than ${labels[1]}${where} is `
        + `${chance(row.better)}. Name a difference that matters to see the probability of that: `
        + "there is no default."
      : `The probability that ${labels[0]} is better than ${labels[1]} by ${points(state.by)} or `
        + `more${where} is ${chance(row.betterBy)}; that it is better at all, `
        + `${chance(row.better)}.`,
  };
  lazily(said, "patient", () => contrastSentence(
    improvement(predictedOf().contrasts[state.contrast], outcome), ...labels,
    ` for this patient${where}`));
  lazily(said, "arms", () => {
    const scores = found.arms.map((each, k) => {
      const digits = sharedDecimals([each.sd]);
      return `${number(each.mean, digits)} with ${arms[k].label} `
        + `(${span(each.lower, each.upper, digits)})`;
    });
    return `Expected scores${where}, averaged over the patients: ${listed(scores)}; `
      + `${study.interval.words} intervals; ${told.better} is better.`;
  });
  return lazily(said, "best", () => {
    const ranks = found.arms.map((each, k) => `${chance(each.best)} for ${arms[k].label}`);
    return `The probability of the best expected score of all${where} is ${listed(ranks)}.`;
  });
}
