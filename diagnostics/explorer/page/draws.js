// Draws of the run: read from the page's text, and put together to scores of patients.

/** The columns of one outcome, read when they are first asked for. */
class Columns {
  constructor(told) {
    const text = atob(told.numbers);
    this.bytes = new Uint8Array(text.length);
    for (let k = 0; k < text.length; k++) this.bytes[k] = text.charCodeAt(k);
    this.total = told.draws;
    this.grids = told.grids;
    this.starts = [];
    let start = 0;
    for (const [, , size] of told.grids) {
      this.starts.push(start);
      start += size * this.total;
    }
    this.read = new Map();
    this.zeros = new Float64Array(this.total);
  }

  at(place) {
    if (place === null) return this.zeros;
    if (this.read.has(place)) return this.read.get(place);
    const [low, step, size] = this.grids[place], found = new Float64Array(this.total);
    let from = this.starts[place];
    for (let k = 0; k < this.total; k++) {
      let whole = 0;
      for (let b = size - 1; b >= 0; b--) whole = whole * 256 + this.bytes[from + b];
      from += size;
      found[k] = low + step * whole;
    }
    this.read.set(place, found);
    return found;
  }
}

/** A column and another so many times, draw by draw. */
function plus(one, other, times = 1) {
  const found = new Float64Array(one.length);
  for (let k = 0; k < found.length; k++) found[k] = one[k] + other[k] * times;
  return found;
}

// Inverse links and distribution functions ------------------------------------------------------

const expit = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

const polynomial = (x, terms) => terms.reduce((sum, term) => sum * x + term, 0);

// Cody 1969 (doi:10.1090/S0025-5718-1969-0247736-4): rational approximations of erf and erfc.
const ERF = [
  [1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
    3.20937758913846947e3],
  [1, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3],
];
const ERFC = [
  [2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
    2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
    1.23033935479799725e3],
  [1, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
    3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3],
];
const FAR = [
  [1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
    1.60837851487422766e-2, 6.58749161529837803e-4],
  [1, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1, 6.05183413124413191e-2,
    2.33520497626869185e-3],
];

function erfc(x) {
  const size = Math.abs(x);
  if (size <= 0.46875) {
    const square = x * x;
    return 1 - (x * polynomial(square, ERF[0])) / polynomial(square, ERF[1]);
  }
  let found;
  if (size <= 4) found = polynomial(size, ERFC[0]) / polynomial(size, ERFC[1]);
  else {
    const inverse = 1 / (size * size);
    const ratio = polynomial(inverse, FAR[0]) / polynomial(inverse, FAR[1]);
    found = (1 / Math.sqrt(Math.PI) - inverse * ratio) / size;
  }
  found *= Math.exp(-size * size);
  return x < 0 ? 2 - found : found;
}

const normal = (x) => erfc(-x / Math.SQRT2) / 2;

// One outcome -----------------------------------------------------------------------------------

/** What is asked of one outcome, answered by its draws. */
class Outcome {
  constructor(told, study) {
    this.told = told;
    this.study = study;
    this.arms = study.arms.length;
    this.kept = null;
    this.lines = new Map();
    this.curves = new Map();
  }

  get columns() {
    return (this.kept ??= new Columns(this.told));
  }

  /** The terms of each draw's series one after the other. */
  get series() {
    const { terms } = this.told.average;
    const found = new Float64Array(terms.length * this.columns.total);
    terms.forEach((place, j) => {
      const own = this.columns.at(place);
      for (let k = 0; k < own.length; k++) found[k * terms.length + j] = own[k];
    });
    Object.defineProperty(this, "series", { value: found });
    return found;
  }

  standard(alliance) {
    const { mean: middle, sd } = this.told.moderator;
    return (alliance - middle) / sd;
  }

  /** Each arm's straight line in the alliance, with a therapist: average, new, or 0, 1, ... */
  armLines(therapist) {
    if (this.lines.has(therapist)) return this.lines.get(therapist);
    const { columns, told } = this;
    const more = therapist === "average" ? null
      : therapist === "new" ? told.new : told.known[Number(therapist)].lines;
    const found = told.arms.level.map((_, arm) => {
      const parts = ["level", "slope"].map((part) => {
        const own = columns.at(told.arms[part][arm]);
        if (!more || more[part][arm] === null) return own;
        return plus(own, columns.at(more[part][arm]));
      });
      return { level: parts[0], slope: parts[1] };
    });
    this.lines.set(therapist, found);
    return found;
  }

  /** Predictors of one patient in every arm. */
  predictors(therapist, alliance, patient = null) {
    const z = this.standard(alliance), { columns, told } = this;
    const further = []; // columns, and how many times each is added
    if (patient) {
      if (told.baseline && patient.baseline !== null) {
        const { mean: middle, sd, slope } = told.baseline;
        further.push([columns.at(slope), (patient.baseline - middle) / sd]);
      }
      told.covariates.forEach((covariate) => {
        const values = patient.covariates[covariate.name] ?? covariate.usual;
        covariate.columns.forEach(({ mean: middle, sd, slope }, k) => {
          if (slope !== null) further.push([columns.at(slope), (values[k] - middle) / sd]);
        });
      });
    }
    return this.armLines(therapist).map(({ level, slope }) =>
      further.reduce((found, [column, times]) => plus(found, column, times), plus(level, slope, z)));
  }

  /** Expected scores of one patient in every arm, from predictors. */
  expected(predictors) {
    const { link, scale: [offset, unit, top] } = this.told;
    if (link === "identity") return predictors;
    return predictors.map((eta) => {
      let own;
      if (link === "log") own = eta.map((x) => Math.exp(Math.min(x, 700)));
      else if (link === "logit") own = eta.map((x) => top * expit(x));
      else {
        const distribution = link === "cumulative logit" ? expit : normal;
        own = new Float64Array(eta.length);
        for (const place of this.told.single.cutpoints) {
          const cutpoint = this.columns.at(place);
          for (let k = 0; k < own.length; k++) own[k] += distribution(eta[k] - cutpoint[k]);
        }
      }
      return own.map((x) => offset + unit * x);
    });
  }

  /** Expected scores in every arm, averaged over the trial's patients, all with one alliance. */
  averages(therapist, alliance) {
    const { columns, told } = this, { average } = told;
    const predictors = this.predictors(therapist, alliance);
    if (told.link === "identity") {
      if (average.shift === null) return predictors;
      return predictors.map((each) => plus(each, columns.at(average.shift)));
    }
    const low = columns.at(average.low), width = columns.at(average.width);
    const { series } = this, count = average.terms.length;
    return predictors.map((eta) => {
      const found = new Float64Array(eta.length);
      for (let k = 0; k < found.length; k++) { // Clenshaw's sum
        const x = width[k] > 0 ? (2 * (eta[k] - low[k])) / width[k] - 1 : 0, first = k * count;
        let one = 0, two = 0;
        for (let j = first + count - 1; j > first; j--) {
          const next = 2 * x * one - two + series[j];
          two = one;
          one = next;
        }
        found[k] = x * one - two + series[first];
      }
      return found;
    });
  }

  /** Expected scores in every arm of the patients at their own alliance. */
  ownAverages() {
    const { own } = this.told;
    if (own.scores) return own.scores.map((place) => this.columns.at(place));
    return this.averages("average", own.at);
  }

  /** Scores of one patient at the rank that each draw gives. */
  scores(predictors, therapist) {
    const { single, link, scale: [offset, unit] } = this.told;
    const noise = this.columns.at(therapist === "new" ? single.residual_new : single.residual);
    return predictors.map((eta, arm) => {
      if (link === "identity") {
        const sd = this.columns.at(single.sd[arm]);
        return eta.map((x, k) => x + sd[k] * noise[k]);
      }
      if (!single.cutpoints) return eta.map((x, k) => offset + unit * (x + noise[k] > 0 ? 1 : 0));
      const found = new Float64Array(eta.length);
      for (const place of single.cutpoints) {
        const cutpoint = this.columns.at(place);
        for (let k = 0; k < found.length; k++) if (eta[k] + noise[k] > cutpoint[k]) found[k]++;
      }
      return found.map((x) => offset + unit * x);
    });
  }

  /** The chance of a score of at least so much (`side` 1), or of at most so much (-1). */
  reached(eta, arm, bound, side) {
    const { single, link, scale: [offset, unit, top] } = this.told;
    const [low, high, step] = single.steps;
    if (link === "identity") {
      let limit = bound;
      if (step) {
        const place = (bound - low) / step, last = Math.floor((high - low) / step + 1e-3);
        const whole = side > 0 ? Math.ceil(place - 1e-3) : Math.floor(place + 1e-3);
        if (side > 0 ? whole <= 0 : whole >= last) return 1;
        if (side > 0 ? whole > last : whole < 0) return 0;
        limit = low + (whole - side * 0.5) * step;
      }
      const sd = this.columns.at(single.sd[arm]);
      return mean(eta.map((x, k) => normal((side * (x - limit)) / sd[k])));
    }
    const own = (bound - offset) / unit;
    const category = side > 0 ? Math.ceil(own - 1e-9) : Math.floor(own + 1e-9) + 1;
    let upper;
    if (category < 1) upper = 1;
    else if (category > top) upper = 0;
    else if (!single.cutpoints) upper = mean(eta.map(expit));
    else {
      const distribution = link === "cumulative logit" ? expit : normal;
      const cutpoint = this.columns.at(single.cutpoints[category - 1]);
      upper = mean(eta.map((x, k) => distribution(x - cutpoint[k])));
    }
    return side > 0 ? upper : 1 - upper;
  }

  /** Whether a value of the alliance lies beyond what was observed. */
  beyond(alliance) {
    const [low, high] = this.told.moderator.observed, slack = 1e-9 * (high - low);
    return alliance < low - slack || alliance > high + slack;
  }
}
