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

const width_min = 6;

/**
 * Renders rows as a table.
 *
 * @param width of the terminal, to which long values are truncated; undefined for no limit
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
  // A line between header and rows, and none between rows.
  const [top = '', head = '', ...rest] = table.toString().split('\n');
  const between = top.replace('┌', '├').replaceAll('┬', '┼').replace('┐', '┤');
  return [top, head, between, ...rest].join('\n');
}

const length = (text: string): number => [...text].length;

/** Shrinks the widest columns first. */
function shrink(widths: number[], width_max: number): void {
  for (let total = widths.reduce((sum, each) => sum + each, 0); total > width_max; total -= 1) {
    const widest = widths.indexOf(Math.max(...widths));
    if ((widths[widest] ?? 0) <= width_min) return;
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

/** Escapes control characters, which could control the terminal. */
export function visible(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern looks for control characters
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (character) => {
    const code = character.charCodeAt(0);
    return { 9: '\\t', 10: '\\n', 13: '\\r' }[code] ?? `\\u${code.toString(16).padStart(4, '0')}`;
  });
}
