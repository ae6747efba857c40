// Numbers as the command line prints them, and quantiles as NumPy has them.

/** A number with so many decimals; of two neighbours at the same distance the even one. */
function fixed(value, decimals) {
  const size = Math.abs(value);
  const further = 30; // where a number lies between two neighbours no digit beyond is not zero
  const long = size.toFixed(Math.min(100, decimals + further));
  const rest = long.slice(long.length - further);
  let text = size.toFixed(decimals);
  if (decimals + further <= 100 && /^50*$/.test(rest)) {
    const cut = long.slice(0, long.length - further).replace(/\.$/, "");
    if (Number(cut[cut.length - 1]) % 2 === 0) text = cut;
  }
  return value < 0 && /[1-9]/.test(text) ? `-${text}` : text;
}

const exponent = (value) => Number(Math.abs(value).toExponential().split("e")[1]);

/** Decimals that show two digits of a spread. */
function decimals(spread, value = NaN) {
  if (Number.isFinite(spread) && spread > 0) return 1 - exponent(spread);
  if (Number.isFinite(value) && value !== 0) return Math.max(0, 2 - exponent(value));
  return 2;
}

/** Decimals for numbers below one another: of the widest spread, but a digit of the narrowest. */
function sharedDecimals(spreads) {
  const found = spreads.filter((each) => Number.isFinite(each) && each > 0).map((s) => decimals(s));
  return found.length ? Math.max(Math.min(...found), Math.max(...found) - 1) : 2;
}

/** A number with so many decimals, with an exponent where it is very small or very large. */
function number(value, digits) {
  if (Number.isNaN(value)) return "";
  if (!Number.isFinite(value)) return value > 0 ? "infinite" : "-infinite";
  const size = Math.abs(value);
  const small = digits > 6 && size < 1e-3;
  if (!(small || size >= 1e9)) return fixed(value, Math.max(0, digits));
  if (size < 0.5 * 10 ** -digits) return "0";
  const [mantissa, power] = value.toExponential(Math.max(0, exponent(value) + digits)).split("e");
  return `${mantissa}e${Number(power)}`;
}

const bare = (text) => {
  const [mantissa, power] = text.split("e");
  const short = mantissa.includes(".") ? mantissa.replace(/0+$/, "").replace(/\.$/, "") : mantissa;
  return power === undefined ? short : `${short}e${power}`;
};

/** A number to three significant digits, and all digits before the point. */
function figures(value) {
  if (value === 0 || !Number.isFinite(value)) return number(value, 0);
  return bare(number(value, 2 - exponent(value)));
}

/** A number with two decimals at most, or three digits where it is small. */
const short = (value) => bare(number(value, Math.max(2, decimals(0, value))));

/** A number to so many significant digits, without zeros at its end. */
function general(value, digits = 6) {
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return number(value, 0);
  const power = exponent(Number(value.toExponential(digits - 1)));
  if (power < -4 || power >= digits) {
    const [mantissa, own] = value.toExponential(digits - 1).split("e");
    const size = String(Math.abs(Number(own))).padStart(2, "0");
    return `${bare(mantissa)}e${Number(own) < 0 ? "-" : "+"}${size}`;
  }
  return bare(fixed(value, digits - 1 - power));
}

/** A probability, never rounded to 0 or 1. */
function chance(value) {
  if (!Number.isFinite(value)) return "";
  return value >= 0.9995 ? "> 0.999" : value < 0.001 ? "< 0.001" : fixed(value, 3);
}

const span = (lower, upper, digits) =>
  Number.isNaN(lower) || Number.isNaN(upper)
    ? ""
    : `${number(lower, digits)} to ${number(upper, digits)}`;

// Draws ------------------------------------------------------------------------------------------

function mean(values) {
  let total = 0;
  for (let k = 0; k < values.length; k++) total += values[k];
  return total / values.length;
}

function spread(values) {
  const middle = mean(values);
  let total = 0;
  for (let k = 0; k < values.length; k++) total += (values[k] - middle) ** 2;
  return Math.sqrt(total / (values.length - 1));
}

/** The share of draws of which something is true. */
function share(values, test) {
  let found = 0;
  for (let k = 0; k < values.length; k++) if (test(values[k])) found++;
  return found / values.length;
}

/** One column less another, draw by draw; in a place for it, or a new one. */
function difference(one, other, found = new Float64Array(one.length)) {
  for (let k = 0; k < found.length; k++) found[k] = one[k] - other[k];
  return found;
}

let room = new Float64Array(0); // where draws are put into order

/** A copy of draws that may be put into another order, until the next is asked for. */
function copied(draws) {
  if (room.length !== draws.length) room = new Float64Array(draws.length);
  room.set(draws);
  return room;
}

/** Have the k-th smallest at place k, smaller ones before and larger ones behind it (Hoare). */
function select(values, k, left, right) {
  while (left < right) {
    const a = values[left], b = values[(left + right) >> 1], c = values[right];
    const pivot = a < b ? (b < c ? b : a < c ? c : a) : a < c ? a : b < c ? c : b;
    let i = left, j = right;
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i <= j) {
        const other = values[i];
        values[i++] = values[j];
        values[j--] = other;
      }
    }
    if (k <= j) right = j;
    else if (k >= i) left = i;
    else return;
  }
}

/** Quantiles at ascending shares, between neighbours by linear interpolation. */
function quantiles(draws, shares) {
  const values = copied(draws), last = values.length - 1;
  let from = 0;
  return shares.map((wanted) => {
    const place = last * wanted, below = Math.floor(place), part = place - below;
    select(values, below, from, last);
    from = below;
    const low = values[below];
    if (below === last) return low;
    let high = values[below + 1];
    for (let k = below + 2; k <= last; k++) if (values[k] < high) high = values[k];
    return part < 0.5 ? low + (high - low) * part : high - (high - low) * (1 - part);
  });
}

/** The smallest draw that this share of the draws does not exceed. */
function inverted(draws, wanted) {
  const values = copied(draws);
  const place = Math.max(0, Math.ceil(values.length * wanted - 1));
  select(values, place, 0, values.length - 1);
  return values[place];
}

/** Mean, SD and the limits of the equal-tailed interval. */
function described(draws, tails) {
  const [lower, upper] = quantiles(draws, tails);
  return { mean: mean(draws), sd: spread(draws), lower, upper };
}

/** To the nearest whole number; of two at the same distance to the even one. */
function nearest(value) {
  const below = Math.floor(value), part = value - below;
  if (part !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
