import { isFinerTime, withoutZeros } from '../request/finer-times.ts';
import { namedRows } from './not-numbers.ts';

export type Column = { name: string; type: string };

/** Facts that are known after the last row. */
export type JsonEnd = {
  columns: Column[];
  rows: number;
  /** The values of the hidden members, in the order of the rows. */
  hidden: string[];
  /** Whether there was a surplus row. */
  hasMore: boolean;
  elapsed_ms: number;
  rowsRead: number;
};

/** The hidden member is the first of its row and names the source of the row; no field begins with `_`. */
export const hiddenColumn = '_from';

/** The hidden member of the surplus row, which shows that more rows follow. */
export const surplus = '+';

const memberName = /(\n\t+"(?:[^"\\]|\\.)*":) /g;

type Parts = {
  /** Whether rows have a hidden member. In answers to SQL every name is a column. */
  isHiding: boolean;
  /** Members before the rows. */
  begin(columns: Column[]): object;
  /** Members after the rows. */
  end(end: JsonEnd): object;
};

const dataBegin = '"data":\n\t[';
const dataEnd = '\n\t],';
const rowBegin = '\n\t\t{';
const rowEnd = `\n\t\t},${rowBegin}`;
/** Marks the end of a row while whitespace is removed. JSON text cannot contain NUL. */
const lineMark = '}\u0000{';
const hiddenMember = new RegExp(`${rowBegin}\\n\\t\\t\\t"${hiddenColumn}": "((?:[^"\\\\]|\\\\.)*)",?`, 'g');

/** A piece of the ClickHouse format `JSON`: the text before the rows, rows, or the text after them. */
type Piece = { head: string } | { rows: string; isLast: boolean } | { rest: string };

/** Splits the stream into pieces with whole rows. Values never contain a line break or a tab, so that these delimit rows. */
async function* splitPieces(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
  const decoder = new TextDecoder();
  /** Searched text that waits for the end of its row, so that it is not searched again with each chunk. */
  let held: string[] = [];
  let text = '';
  let hasBegun = false;
  let hasEnded = false;
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    if (!hasBegun) {
      const at = text.indexOf(dataBegin);
      if (at < 0) continue;
      hasBegun = true;
      yield { head: text.slice(0, at) };
      text = text.slice(at + dataBegin.length);
    }
    if (hasEnded) continue;
    const end = text.indexOf(dataEnd);
    hasEnded = end >= 0;
    const upTo = hasEnded ? end : text.lastIndexOf(rowBegin);
    if (upTo < 0) {
      // A delimiter may begin at the end of the chunk.
      held.push(text.slice(0, -rowBegin.length));
      text = text.slice(-rowBegin.length);
      continue;
    }
    yield { rows: held.join('') + text.slice(0, upTo), isLast: hasEnded };
    // The last row is held back: it may be the surplus row.
    held = hasEnded ? [] : [rowBegin];
    text = text.slice(upTo + (hasEnded ? dataEnd : rowBegin).length);
  }
  if (!hasEnded) throw new Error('the answer ended within its rows');
  yield { rest: text };
}

/**
 * Streams an answer from the ClickHouse format `JSON`. Rows stay text: parsing them would round integers beyond 2^53.
 */
export async function* jsonAnswer(chunks: AsyncIterable<Uint8Array>, parts: Parts): AsyncGenerator<string> {
  let rows = new Rows(parts.isHiding);
  let columns: Column[] = [];
  for await (const piece of splitPieces(chunks)) {
    if ('head' in piece) {
      rows = new Rows(parts.isHiding, finerTimes(piece.head));
      columns = parseColumns(piece.head).filter(({ name }) => !parts.isHiding || name !== hiddenColumn);
      yield `${JSON.stringify(parts.begin(columns)).slice(0, -1)},"rows":[`;
    } else if ('rows' in piece) {
      const ready = rows.compact(piece.rows, columns, piece.isLast);
      if (ready !== '') yield ready;
    } else {
      const { totals, ...statistics } = parseEnd(piece.rest, rows, columns);
      const end = { ...statistics, rows: rows.count, hidden: rows.hidden, hasMore: rows.hasMore, columns };
      yield `],${totals === undefined ? '' : `"totals":${totals},`}${JSON.stringify(parts.end(end)).slice(1)}`;
    }
  }
}

/** Streams the rows alone, one a line. */
export async function* jsonLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rows = new Rows(false);
  let columns: Column[] = [];
  for await (const piece of splitPieces(chunks)) {
    if ('head' in piece) {
      rows = new Rows(false, finerTimes(piece.head));
      columns = parseColumns(piece.head);
    } else if ('rows' in piece && piece.rows.includes(rowBegin)) yield rows.lines(piece.rows, columns);
  }
}

class Rows {
  readonly #isHiding: boolean;
  readonly #times: RegExp | undefined;
  readonly hidden: string[] = [];
  hasMore = false;
  count = 0;

  constructor(isHiding: boolean, times?: RegExp) {
    this.#isHiding = isHiding;
    this.#times = times;
  }

  /** Rows without whitespace and hidden members, after a comma if other rows precede. */
  compact(segment: string, columns: Column[], isLast: boolean): string {
    const text = this.#isHiding ? this.#withoutHidden(segment, isLast) : segment;
    const rows = this.text(text).replace(/,$/, '');
    if (rows === '') return '';
    const before = this.count === 0 ? '' : ',';
    this.count += text.split(rowBegin).length - 1;
    return before + namedRows(rows, columns);
  }

  /** Rows, each with a line break. */
  lines(segment: string, columns: Column[]): string {
    const text = segment.trimEnd().replace(/,$/, '').replaceAll(rowEnd, lineMark);
    const lines = this.text(text).split(lineMark);
    return lines
      .map((line, i) => namedRows(`${i === 0 ? '' : '{'}${line}${i === lines.length - 1 ? '' : '}'}`, columns))
      .map((line) => `${line}\n`)
      .join('');
  }

  /** Rows or totals without whitespace and without trailing zeros of times. */
  text(source: string): string {
    return compactText(this.#times === undefined ? source : source.replace(this.#times, withoutZeros));
  }

  #withoutHidden(segment: string, isLast: boolean): string {
    let text = segment;
    if (isLast) {
      const at = text.lastIndexOf(`${rowBegin}\n\t\t\t"${hiddenColumn}": "${surplus}"`);
      this.hasMore = at >= 0;
      if (this.hasMore) text = text.slice(0, at);
    }
    return text.replace(hiddenMember, (_, member: string) => {
      this.hidden.push(JSON.parse(`"${member}"`));
      return rowBegin;
    });
  }
}

const headColumn = /"name": ("(?:[^"\\]|\\.)*"),\s*"type": "((?:[^"\\]|\\.)*)"/g;

/** Matches members whose times have more than three digits of a second; undefined for an answer without such columns. */
function finerTimes(head: string): RegExp | undefined {
  const names = [...head.matchAll(headColumn)].flatMap(([, name = '', type = '']) => {
    // The name is escaped in the head as in the rows.
    return !isFinerTime(type) ? [] : name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  });
  return names.length === 0 ? undefined : new RegExp(`\\n\\t+(?:${names.join('|')}): [^\\n]*`, 'g');
}

function compactText(text: string): string {
  return text.replace(memberName, '$1').replace(/[\n\t]+/g, '');
}

function parseColumns(text: string): Column[] {
  const { meta } = JSON.parse(`${text.trimEnd().replace(/,$/, '')}}`) as { meta: Column[] };
  return meta;
}

/** Parses the text after the rows. The totals of a query WITH TOTALS stay text, like rows. */
function parseEnd(
  text: string,
  rows: Rows,
  columns: Column[],
): Pick<JsonEnd, 'elapsed_ms' | 'rowsRead'> & { totals: string | undefined } {
  const { statistics } = JSON.parse(`{${text}`) as { statistics: { elapsed: number; rows_read: number } };
  const [, totals] = /"totals":\s*(\{.*?\n\t\})/s.exec(text) ?? [];
  return {
    totals: totals === undefined ? undefined : namedRows(rows.text(totals), columns),
    elapsed_ms: Math.round(statistics.elapsed * 1000),
    rowsRead: statistics.rows_read,
  };
}
