/**
 * Search, LIKE and order of texts as in ClickHouse. Texts and patterns come from users and share an instance with other
 * requests: each function reads a text once, in linear time, without regular expressions and without backtracking.
 */
export type TextTest = (text: string) => boolean;

/** Equal to `position(text, needle) > 0`. */
export function containsText(needle: string): TextTest {
  const find = findLiteral(needle);
  return (text) => find(text, 0, text.length) >= 0;
}

/**
 * Equal to `text LIKE pattern`: `%` is any text, `_` one code point, and a backslash escapes these and itself; before other
 * characters it is literal.
 *
 * @returns undefined for a pattern that cannot be matched in one pass
 */
export function likeText(pattern: string): TextTest | undefined {
  const [first = [], ...rest] = splitPattern(pattern);
  const last = rest.pop();
  if (last === undefined) return (text) => matchAt(first, text, 0) === text.length;
  const finders = rest.map(findSegment);
  if (finders.some((find) => find === undefined)) return undefined;
  return (text) => {
    const to = stepBack(text, last.length);
    let from = matchAt(first, text, 0);
    if (from < 0 || to < from || matchAt(last, text, to) < 0) return false;
    // The earliest match of a segment leaves the most text for the next ones.
    for (const find of finders) {
      from = find?.(text, from, to) ?? -1;
      if (from < 0) return false;
    }
    return true;
  };
}

/** Negative where `a` sorts first by its UTF-8 bytes, which is the order of code points. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const end = Math.min(a.length, b.length);
  for (let i = 0; i < end; i += 1) {
    const [left, right] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (left !== right) return codeUnitRank(left) - codeUnitRank(right);
  }
  return a.length - b.length;
}

/** Surrogates sort after all other code units: they encode the highest code points. */
function codeUnitRank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** A code point, or `any`. */
type Point = number;
const any = -1;

/** The parts of a pattern between its `%`. */
function splitPattern(pattern: string): Point[][] {
  const segments: Point[][] = [[]];
  const characters = [...pattern];
  for (let i = 0; i < characters.length; i += 1) {
    const character = characters[i] ?? '';
    const next = characters[i + 1] ?? '';
    if (character === '%') {
      segments.push([]);
      continue;
    }
    const isEscape = character === '\\' && next !== '' && '\\%_'.includes(next);
    if (isEscape) i += 1;
    segments.at(-1)?.push(character === '_' ? any : ((isEscape ? next : character).codePointAt(0) ?? 0));
  }
  return segments;
}

/** The end of a segment that matches at `from`; -1 where it does not match. All positions are in UTF-16 code units. */
function matchAt(segment: Point[], text: string, from: number): number {
  let at = from;
  for (const expected of segment) {
    const point = text.codePointAt(at);
    if (point === undefined || (expected !== any && expected !== point)) return -1;
    at += codePointWidth(point);
  }
  return at;
}

/** The position `count` code points before the end; -1 in a shorter text. */
function stepBack(text: string, count: number): number {
  let at = text.length;
  for (let n = 0; n < count; n += 1) {
    const isPair = at >= 2 && (text.codePointAt(at - 2) ?? 0) > 0xffff;
    at -= isPair ? 2 : 1;
    if (at < 0) return -1;
  }
  return at;
}

/** The position `count` code points after `from`; -1 where that is beyond `to`. */
function stepForward(text: string, count: number, from: number, to: number): number {
  let at = from;
  for (let n = 0; n < count; n += 1) {
    if (at >= to) return -1;
    at += codePointWidth(text.codePointAt(at) ?? 0);
  }
  return at;
}

function codePointWidth(point: number): number {
  return point > 0xffff ? 2 : 1;
}

/** The end of the first occurrence between two positions; -1 without an occurrence. */
type Find = (text: string, from: number, to: number) => number;

function findSegment(segment: Point[]): Find | undefined {
  // Leading and trailing `_` only need a character each.
  const before = segment.findIndex((point) => point !== any);
  if (before < 0) return (text, from, to) => stepForward(text, segment.length, from, to);
  const after = segment.length - 1 - segment.findLastIndex((point) => point !== any);
  const core = segment.slice(before, segment.length - after);
  const find = core.includes(any)
    ? findMasked(core)
    : findLiteral(core.map((point) => String.fromCodePoint(point)).join(''));
  if (find === undefined) return undefined;
  return (text, from, to) => {
    const begin = stepForward(text, before, from, to);
    const end = begin < 0 ? -1 : find(text, begin, to);
    return end < 0 ? -1 : stepForward(text, after, end, to);
  };
}

/** Knuth-Morris-Pratt: after a mismatch, continues with the longest prefix that is a suffix of the text read. */
function findLiteral(needle: string): Find {
  const { length } = needle;
  if (length === 0) return (_, from) => from;
  const fallback = new Int32Array(length + 1);
  fallback[0] = -1;
  for (let i = 0, matched = -1; i < length; ) {
    while (matched >= 0 && needle.charCodeAt(i) !== needle.charCodeAt(matched)) matched = fallback[matched] ?? -1;
    i += 1;
    matched += 1;
    fallback[i] = matched;
  }
  return (text, from, to) => {
    let matched = 0;
    for (let i = from; i < to; i += 1) {
      const unit = text.charCodeAt(i);
      while (matched >= 0 && unit !== needle.charCodeAt(matched)) matched = fallback[matched] ?? -1;
      matched += 1;
      if (matched === length) return i + 1;
    }
    return -1;
  };
}

/** The bits of a JavaScript bit operation. */
const masked_max = 32;

/** Baeza-Yates-Gonnet (bitap): bit n is set where the last n + 1 code points match the start of the needle. */
function findMasked(needle: Point[]): Find | undefined {
  if (needle.length > masked_max) return undefined;
  const anywhere = needle.reduce((mask, point, i) => (point === any ? mask | (1 << i) : mask), 0);
  const masks = new Map<number, number>();
  for (const [i, point] of needle.entries()) {
    if (point !== any) masks.set(point, (masks.get(point) ?? anywhere) | (1 << i));
  }
  const found = 1 << (needle.length - 1);
  return (text, from, to) => {
    let state = 0;
    for (let i = from; i < to; ) {
      const point = text.codePointAt(i) ?? 0;
      i += codePointWidth(point);
      state = ((state << 1) | 1) & (masks.get(point) ?? anywhere);
      if ((state & found) !== 0) return i;
    }
    return -1;
  };
}
