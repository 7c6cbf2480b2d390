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
const hiddenMember = new RegExp(`${rowBegin}\\n\\t\\t\\t"${hiddenColumn}": "((?:[^"\\\\]|\\\\.)*)",?`, 'g');

/**
 * Makes an answer of what ClickHouse writes in format `JSON`, as it comes. Rows stay the text that ClickHouse wrote:
 * parsing them would round integers beyond 2^53. In that text a line break or a tab is never part of a value, so the lines
 * that are not rows can be told from those that are.
 */
export async function* jsonAnswer(chunks: AsyncIterable<Uint8Array>, parts: Parts): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rows = new Rows(parts.isHiding);
  let columns: Column[] | undefined;
  /** What was looked through, and waits for the end of its row: not looked through again with each piece that comes. */
  let held: string[] = [];
  let text = '';
  let isOver = false;
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    if (columns === undefined) {
      const at = text.indexOf(dataBegin);
      if (at < 0) continue;
      rows = new Rows(parts.isHiding, finerTimes(text.slice(0, at)));
      columns = columnsOf(text.slice(0, at)).filter(({ name }) => !parts.isHiding || name !== hiddenColumn);
      yield `${JSON.stringify(parts.begin(columns)).slice(0, -1)},"rows":[`;
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
    const ready = rows.compact(held.join('') + text.slice(0, upTo), columns, isOver);
    if (ready !== '') yield ready;
    // The last row waits: it may be the one that only tells that there are more.
    held = isOver ? [] : [rowBegin];
    text = text.slice(upTo + (isOver ? dataEnd : rowBegin).length);
  }
  if (columns === undefined || !isOver) throw new Error('an answer ended before its rows did');
  const { totals, ...statistics } = endOf(text, rows, columns);
  const end = { ...statistics, rows: rows.count, hidden: rows.hidden, hasMore: rows.hasMore, columns };
  yield `],${totals === undefined ? '' : `"totals":${totals},`}${JSON.stringify(parts.end(end)).slice(1)}`;
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

/** A column whose times have six or nine digits of a second, in lists or not, and that holds no text. */
const finerColumn = /"name": ("(?:[^"\\]|\\.)*"),\s*"type": "((?:[^"\\]|\\.)*DateTime64\([69](?:[^"\\]|\\.)*)"/g;
const holdsText = /String|Enum|JSON|Dynamic|Variant|Object/;

/** The members of rows that have such times; undefined where none has. */
function finerTimes(head: string): RegExp | undefined {
  const names = [...head.matchAll(finerColumn)].flatMap(([, name = '', type = '']) => {
    // As ClickHouse writes it, here and in the rows.
    return holdsText.test(type) ? [] : name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  });
  return names.length === 0 ? undefined : new RegExp(`\\n\\t+(?:${names.join('|')}): [^\\n]*`, 'g');
}

/** Of the digits of a second, as many as there is something in: three, six or nine. ClickHouse writes all. */
function withoutZeros(member: string): string {
  return member.replace(/(T\d\d:\d\d:\d\d\.\d{3}(?:\d{3})??)(?:000){1,2}Z"/g, '$1Z"');
}

/** Without the blanks around members and between lines. */
function compactText(text: string): string {
  return text.replace(memberName, '$1').replace(/[\n\t]+/g, '');
}

function columnsOf(text: string): Column[] {
  const { meta } = JSON.parse(`${text.trimEnd().replace(/,$/, '')}}`) as { meta: Column[] };
  return meta;
}

/** What follows the rows. The totals of a query WITH TOTALS stay text too. */
function endOf(
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
