/** The text of a cell, and whether it was quoted. */
export type Cell = { text: string; quoted: boolean };

/** A row of cells. `line` is its first line in the text; `problem` describes malformed CSV. */
export type CsvRecord = { cells: Cell[]; line: number; start: number; end: number; problem?: string };

/** The text ends within quotes. */
export class OpenQuoteError extends Error {
  /** Lines of the row and of the quote. */
  readonly start: number;
  readonly line: number;
  constructor(start: number, line: number) {
    super(`a quote is opened in line ${line} and not closed`);
    this.name = 'OpenQuoteError';
    this.start = start;
    this.line = line;
  }
}

const comma = 0x2c;
const quote = 0x22;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/**
 * Reads CSV (RFC 4180) row by row. Lines end with LF, CR LF or CR, also mixed; within quotes these belong to the cell. Empty
 * lines are skipped.
 */
export class CsvReader {
  readonly #text: string;
  #at: number;
  #line: number;

  /** @param line the number of the first line of the text */
  constructor(text: string, line = 1) {
    this.#text = text;
    this.#at = 0;
    this.#line = line;
  }

  /** The number of the next line. */
  get line(): number {
    return this.#line;
  }

  /**
   * The next row; undefined after the last one.
   *
   * @throws OpenQuoteError
   */
  next(): CsvRecord | undefined {
    while (this.#atLineEnd() && this.#at < this.#text.length) this.#endLine();
    if (this.#at >= this.#text.length) return undefined;
    const record: CsvRecord = { cells: [], line: this.#line, start: this.#at, end: 0 };
    do this.#cell(record);
    while (this.#takeComma());
    record.end = this.#at;
    if (this.#at < this.#text.length) this.#endLine();
    return record;
  }

  #cell(record: CsvRecord): void {
    const text = this.#text;
    if (text.charCodeAt(this.#at) === quote) {
      record.cells.push({ text: this.#quoted(record), quoted: true });
      const start = this.#at;
      this.#at = this.#plainEnd(start);
      if (this.#at > start)
        record.problem ??= 'text follows the end of a quoted cell (a quote within it is written twice)';
      return;
    }
    const start = this.#at;
    this.#at = this.#plainEnd(start);
    const cell = text.slice(start, this.#at);
    if (cell.includes('"')) record.problem ??= 'a quote stands in a cell that does not begin with one';
    record.cells.push({ text: cell, quoted: false });
  }

  /** Moves after the closing quote and returns the text before it. */
  #quoted({ start }: CsvRecord): string {
    const text = this.#text;
    const line = this.#line;
    const from = this.#at + 1;
    let end = text.indexOf('"', from);
    let hasQuotes = false;
    while (end >= 0 && text.charCodeAt(end + 1) === quote) {
      hasQuotes = true;
      end = text.indexOf('"', end + 2);
    }
    if (end < 0) throw new OpenQuoteError(start, line);
    this.#at = end + 1;
    const cell = text.slice(from, end);
    this.#line += lineEndsIn(cell);
    return hasQuotes ? cell.replaceAll('""', '"') : cell;
  }

  /** The end of an unquoted cell. */
  #plainEnd(start: number): number {
    const text = this.#text;
    let at = start;
    for (; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code === comma || code === lineFeed || code === carriageReturn) break;
    }
    return at;
  }

  #takeComma(): boolean {
    if (this.#text.charCodeAt(this.#at) !== comma) return false;
    this.#at += 1;
    return true;
  }

  #atLineEnd(): boolean {
    const code = this.#text.charCodeAt(this.#at);
    return code === lineFeed || code === carriageReturn;
  }

  #endLine(): void {
    const isPair =
      this.#text.charCodeAt(this.#at) === carriageReturn && this.#text.charCodeAt(this.#at + 1) === lineFeed;
    this.#at += isPair ? 2 : 1;
    this.#line += 1;
  }
}

/** Number of line ends in a text. */
export function lineEndsIn(text: string): number {
  let lines = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines += 1;
  // Lines that end with CR only.
  for (let at = text.indexOf('\r'); at >= 0; at = text.indexOf('\r', at + 1)) {
    if (text.charCodeAt(at + 1) !== lineFeed) lines += 1;
  }
  return lines;
}
