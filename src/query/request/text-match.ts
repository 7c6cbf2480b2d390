/**
 * Text as ClickHouse finds, matches and orders it, in JavaScript. Texts and patterns are anybody's and run where everybody's
 * requests do, so each of these reads a text once, whatever it is and whatever it is looked at for: no regular expressions,
 * and no search that starts again from the next character.
 */
export type TextTest = (text: string) => boolean;

/** As `position(text, needle) > 0`. */
export function containsText(needle: string): TextTest {
  const find = findLiteral(needle);
  return (text) => find(text, 0, text.length) >= 0;
}

/**
 * As `text LIKE pattern`: `%` is any text, `_` one code point, and a backslash takes the meaning from these and from itself;
 * before anything else it is one.
 *
 * @returns undefined for a pattern of which a text would be read more than once
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
    // The first place of each leaves the most to those behind it.
    for (const find of finders) {
      from = find?.(text, from, to) ?? -1;
      if (from < 0) return false;
    }
    return true;
  };
}

/** Below 0 where `a` comes first by its bytes in UTF-8, which is the order of code points. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const end = Math.min(a.length, b.length);
  for (let i = 0; i < end; i += 1) {
    const [left, right] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (left !== right) return codeUnitRank(left) - codeUnitRank(right);
  }
  return a.length - b.length;
}

/** Halves of a pair stand for code points beyond all those that one unit has. */
function codeUnitRank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** A code point; `any` in place of one. */
type Point = number;
const any = -1;

/** What stands between the `%` of a pattern. */
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

/** Where a segment that begins at a place ends; -1 if it does not begin there. Places are in UTF-16 units, as all here. */
function matchAt(segment: Point[], text: string, from: number): number {
  let at = from;
  for (const wanted of segment) {
    const point = text.codePointAt(at);
    if (point === undefined || (wanted !== any && wanted !== point)) return -1;
    at += codePointWidth(point);
  }
  return at;
}

/** So many code points before the end; -1 if there are fewer. */
function stepBack(text: string, count: number): number {
  let at = text.length;
  for (let n = 0; n < count; n += 1) {
    const isPair = at >= 2 && (text.codePointAt(at - 2) ?? 0) > 0xffff;
    at -= isPair ? 2 : 1;
    if (at < 0) return -1;
  }
  return at;
}

/** So many code points on; -1 if there are fewer. */
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

/** Where the first occurrence between two places ends; -1 if there is none. */
type Find = (text: string, from: number, to: number) => number;

function findSegment(segment: Point[]): Find | undefined {
  // At its ends, `_` only asks that something is there.
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

/** Knuth, Morris and Pratt: after a mismatch it goes on with the longest beginning that what was read ends with. */
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

/** So many places that may hold anything go through a text at once: bits of a number. */
const masked_max = 32;

/** Baeza-Yates and Gonnet: bit n says that the n + 1 code points read last are those that the needle begins with. */
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
