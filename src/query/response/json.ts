import { isFinerTime, withoutZeros } from '../request/finer-times.ts';
import { namedRows } from './not-numbers.ts';

/** What ClickHouse says of the columns of an answer. */
export type Column = { name: string; type: string };

/** What is known of an answer once its last row is there. */
export type JsonEnd = {
  columns: Column[];
  rows: number;
  /** What the hidden members of the rows said, in their order. */
  hidden: string[];
  /** Whether there was a surplus row. */
  hasMore: boolean;
  elapsed_ms: number;
  rowsRead: number;
};

/** A hidden member is the first of its row and says where it came from; no field begins with `_`. */
export const hiddenColumn = '_from';

/** What the hidden member of a row says that is only there to tell that more rows follow. */
export const surplus = '+';

const memberName = /(\n\t+"(?:[^"\\]|\\.)*":) /g;

type Parts = {
  /** Whether rows have a hidden member: in what somebody's own SQL answers, every name is a column. */
  isHiding: boolean;
  /** Members before the rows, and after them. */
  begin(columns: Column[]): object;
  end(end: JsonEnd): object;
};

const dataBegin = '"data":\n\t[';
const dataEnd = '\n\t],';
const rowBegin = '\n\t\t{';
const rowEnd = `\n\t\t},${rowBegin}`;
/** Stands for the end of a row while what is around members is taken away: no text of JSON has it. */
const lineMark = '}\u0000{';
const hiddenMember = new RegExp(`${rowBegin}\\n\\t\\t\\t"${hiddenColumn}": "((?:[^"\\\\]|\\\\.)*)",?`, 'g');

/** A piece of what ClickHouse writes in format `JSON`: what it says of the columns, rows, or what follows them. */
type Piece = { head: string } | { rows: string; isLast: boolean } | { rest: string };

/**
 * Cuts what comes into pieces with whole rows. In that text a line break or a tab is never part of a value, so the lines that
 * are not rows can be told from those that are.
 */
async function* splitPieces(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
  const decoder = new TextDecoder();
  /** What was looked through, and waits for the end of its row: not looked through again with each piece that comes. */
  let held: string[] = [];
  let text = '';
  let isBegun = false;
  let isOver = false;
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    if (!isBegun) {
      const at = text.indexOf(dataBegin);
      if (at < 0) continue;
      isBegun = true;
      yield { head: text.slice(0, at) };
      text = text.slice(at + dataBegin.length);
    }
    if (isOver) continue;
    const end = text.indexOf(dataEnd);
    isOver = end >= 0;
    const upTo = isOver ? end : text.lastIndexOf(rowBegin);
    if (upTo < 0) {
      // The beginning of either may be at its end.
      held.push(text.slice(0, -rowBegin.length));
      text = text.slice(-rowBegin.length);
      continue;
    }
    yield { rows: held.join('') + text.slice(0, upTo), isLast: isOver };
    // The last row waits: it may be the one that only tells that there are more.
    held = isOver ? [] : [rowBegin];
    text = text.slice(upTo + (isOver ? dataEnd : rowBegin).length);
  }
  if (!isOver) throw new Error('an answer ended before its rows did');
  yield { rest: text };
}

/**
 * Makes an answer of what ClickHouse writes in format `JSON`, as it comes. Rows stay the text that ClickHouse wrote:
 * parsing them would round integers beyond 2^53.
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

/** The rows alone, one a line. */
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

  /** Whole rows without what is between and hidden in them, and with a comma before them if there were others. */
  compact(segment: string, columns: Column[], isLast: boolean): string {
    const text = this.#isHiding ? this.#withoutHidden(segment, isLast) : segment;
    const rows = this.text(text).replace(/,$/, '');
    if (rows === '') return '';
    const before = this.count === 0 ? '' : ',';
    this.count += text.split(rowBegin).length - 1;
    return before + namedRows(rows, columns);
  }

  /** Whole rows, each with a line break after it. */
  lines(segment: string, columns: Column[]): string {
    const text = segment.trimEnd().replace(/,$/, '').replaceAll(rowEnd, lineMark);
    const lines = this.text(text).split(lineMark);
    return lines
      .map((line, i) => namedRows(`${i === 0 ? '' : '{'}${line}${i === lines.length - 1 ? '' : '}'}`, columns))
      .map((line) => `${line}\n`)
      .join('');
  }

  /** What ClickHouse wrote of rows, or of their totals, as it is answered. */
  text(written: string): string {
    return compactText(this.#times === undefined ? written : written.replace(this.#times, withoutZeros));
  }

  #withoutHidden(segment: string, isLast: boolean): string {
    let text = segment;
    if (isLast) {
      const at = text.lastIndexOf(`${rowBegin}\n\t\t\t"${hiddenColumn}": "${surplus}"`);
      this.hasMore = at >= 0;
      if (this.hasMore) text = text.slice(0, at);
    }
    return text.replace(hiddenMember, (_, said: string) => {
      this.hidden.push(JSON.parse(`"${said}"`));
      return rowBegin;
    });
  }
}

const headColumn = /"name": ("(?:[^"\\]|\\.)*"),\s*"type": "((?:[^"\\]|\\.)*)"/g;

/** The members of rows whose times have more than three digits of a second; undefined where none has. */
function finerTimes(head: string): RegExp | undefined {
  const names = [...head.matchAll(headColumn)].flatMap(([, name = '', type = '']) => {
    // As ClickHouse writes it, here and in the rows.
    return !isFinerTime(type) ? [] : name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  });
  return names.length === 0 ? undefined : new RegExp(`\\n\\t+(?:${names.join('|')}): [^\\n]*`, 'g');
}

/** Without the blanks around members and between lines. */
function compactText(text: string): string {
  return text.replace(memberName, '$1').replace(/[\n\t]+/g, '');
}

function parseColumns(text: string): Column[] {
  const { meta } = JSON.parse(`${text.trimEnd().replace(/,$/, '')}}`) as { meta: Column[] };
  return meta;
}

/** What follows the rows. The totals of a query WITH TOTALS stay text too. */
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
