import Table from 'cli-table3';

export type Column = { name: string; isNumber?: boolean };

const lines = {
  top: '─',
  'top-mid': '┬',
  'top-left': '┌',
  'top-right': '┐',
  bottom: '─',
  'bottom-mid': '┴',
  'bottom-left': '└',
  'bottom-right': '┘',
  left: '│',
  'left-mid': '├',
  mid: '─',
  'mid-mid': '┼',
  right: '│',
  'right-mid': '┤',
  middle: '│',
};

const narrowest = 6;

/**
 * Rows as a table.
 *
 * @param width columns of the terminal, into which long values are cut; undefined where they need not be
 */
export function tableText(columns: Column[], rows: Record<string, unknown>[], width: number | undefined): string {
  const cells = rows.map((row) => columns.map(({ name }) => cellText(row[name])));
  const titles = columns.map(({ name }) => visible(name));
  const widths = titles.map((title, i) => Math.max(...[title, ...cells.map((row) => row[i] ?? '')].map(length)) + 2);
  if (width !== undefined) shrink(widths, width - columns.length - 1);
  const table = new Table({
    head: titles,
    colWidths: widths,
    colAligns: columns.map(({ isNumber }) => (isNumber ? 'right' : 'left')),
    chars: { ...lines, mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
    style: { head: [], border: [] },
  });
  table.push(...cells);
  // The line between names and rows, and none between rows.
  const [top = '', head = '', ...rest] = table.toString().split('\n');
  const between = top.replace('┌', '├').replaceAll('┬', '┼').replace('┐', '┤');
  return [top, head, between, ...rest].join('\n');
}

const length = (text: string): number => [...text].length;

/** The widest give way first. */
function shrink(widths: number[], most: number): void {
  for (let total = widths.reduce((sum, each) => sum + each, 0); total > most; total -= 1) {
    const widest = widths.indexOf(Math.max(...widths));
    if ((widths[widest] ?? 0) <= narrowest) return;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
}

export function cellText(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') return visible(value);
  if (typeof value === 'object') {
    return visible(JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? String(each) : each)));
  }
  return String(value);
}

/** What would steer a terminal is shown instead. */
export function visible(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it is about
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (character) => {
    const code = character.charCodeAt(0);
    return { 9: '\\t', 10: '\\n', 13: '\\r' }[code] ?? `\\u${code.toString(16).padStart(4, '0')}`;
  });
}
