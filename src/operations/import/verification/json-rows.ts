/** A member of an object: its name, and the unchanged text of its value. */
export type RawMember = { name: string; raw: string };

const space = /[ \t\r\n]*/y;

function skipSpace(text: string, at: number): number {
  space.lastIndex = at;
  space.test(text);
  return space.lastIndex;
}

/** The end of the string at `start`; undefined if the text ends before. */
function stringEnd(text: string, start: number): number | undefined {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (text[at - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return at + 1;
  }
  return undefined;
}

const structural = /["{}[\]]/g;

/** The end of the object or list at `start`; undefined if the text ends before. */
export function nestedEnd(text: string, start: number): number | undefined {
  let depth = 0;
  structural.lastIndex = start;
  for (let found = structural.exec(text); found !== null; found = structural.exec(text)) {
    const [char] = found;
    if (char === '"') {
      const end = stringEnd(text, found.index);
      if (end === undefined) return undefined;
      structural.lastIndex = end;
      continue;
    }
    depth += char === '{' || char === '[' ? 1 : -1;
    if (depth === 0) return found.index + 1;
  }
  return undefined;
}

const scalarEnd = /[,}\s]/g;

/**
 * The members of an object in their order, including duplicate names.
 *
 * @param text an object that JSON.parse accepts
 */
export function parseMembers(text: string): RawMember[] {
  const members: RawMember[] = [];
  let at = skipSpace(text, text.indexOf('{') + 1);
  while (text[at] === '"') {
    const nameEnd = stringEnd(text, at) ?? text.length;
    const name = JSON.parse(text.slice(at, nameEnd)) as string;
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1);
    const end = valueEnd(text, start);
    members.push({ name, raw: text.slice(start, end) });
    // After the comma, or at the closing bracket.
    at = skipSpace(text, skipSpace(text, end) + 1);
  }
  return members;
}

function valueEnd(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return stringEnd(text, start) ?? text.length;
  if (first === '{' || first === '[') return nestedEnd(text, start) ?? text.length;
  scalarEnd.lastIndex = start;
  return scalarEnd.exec(text)?.index ?? text.length;
}

/** Text that is not a row. `start` is its position. */
export class NotARow extends Error {
  readonly start: number;
  constructor(message: string, start: number) {
    super(message);
    this.name = 'NotARow';
    this.start = start;
  }
}

/** A row of a text with its start and end. */
export type TextRow<Row> = { row: Row; start: number; end: number };

/**
 * Reads objects, one after the other, with the platform's JSON.parse.
 *
 * @returns the start of the first row that is incomplete in the text
 * @throws NotARow
 */
export function* jsonRows(text: string, isLast: boolean): Generator<TextRow<RawMember[]>, number> {
  let at = skipSpace(text, text.startsWith('\uFEFF') ? 1 : 0);
  while (at < text.length) {
    if (text[at] !== '{') throw new NotARow('an object is expected', at);
    const end = nestedEnd(text, at);
    if (end === undefined) {
      if (isLast) throw new NotARow('an object is not closed', at);
      return at;
    }
    const object = text.slice(at, end);
    try {
      JSON.parse(object);
    } catch (error) {
      throw new NotARow((error as Error).message, at);
    }
    yield { row: parseMembers(object), start: at, end };
    at = skipSpace(text, end);
  }
  return text.length;
}
