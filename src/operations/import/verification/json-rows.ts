/** A member of an object: its name, and the text of its value as it stands there. */
export type RawMember = { name: string; raw: string };

const space = /[ \t\r\n]*/y;

function afterSpace(text: string, at: number): number {
  space.lastIndex = at;
  space.test(text);
  return space.lastIndex;
}

/** Where a string ends that begins at a place; undefined where the text is over before. */
function stringEnd(text: string, start: number): number | undefined {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (text[at - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return at + 1;
  }
  return undefined;
}

const structural = /["{}[\]]/g;

/** Where an object or a list ends that begins at a place; undefined where the text is over before. */
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
 * The members of an object in their order, with those that have the same name.
 *
 * @param text of an object that JSON.parse takes
 */
export function membersOf(text: string): RawMember[] {
  const members: RawMember[] = [];
  let at = afterSpace(text, text.indexOf('{') + 1);
  while (text[at] === '"') {
    const nameEnd = stringEnd(text, at) ?? text.length;
    const name = JSON.parse(text.slice(at, nameEnd)) as string;
    const start = afterSpace(text, afterSpace(text, nameEnd) + 1);
    const end = valueEnd(text, start);
    members.push({ name, raw: text.slice(start, end) });
    // After the comma, or at the closing bracket.
    at = afterSpace(text, afterSpace(text, end) + 1);
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

/** Text that is no row. `start` is where it begins. */
export class NotARow extends Error {
  readonly start: number;
  constructor(message: string, start: number) {
    super(message);
    this.name = 'NotARow';
    this.start = start;
  }
}

/** A row of a text, and where the next one may begin. */
export type TextRow<Row> = { row: Row; start: number; end: number };

/**
 * Reads objects, one after the other, by the platform's JSON.parse.
 *
 * @returns where the first row begins that the text does not have as a whole, by `return`
 * @throws NotARow
 */
export function* jsonRows(text: string, isLast: boolean): Generator<TextRow<RawMember[]>, number> {
  let at = afterSpace(text, text.startsWith('\uFEFF') ? 1 : 0);
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
    yield { row: membersOf(object), start: at, end };
    at = afterSpace(text, end);
  }
  return text.length;
}
