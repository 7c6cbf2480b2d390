import { createInterface } from 'node:readline/promises';
import type { Timestore } from '../client/index.ts';
import { bodyText } from '../client/write.ts';
import type { CommonOptions } from './config.ts';
import { usage } from './failure.ts';
import { type Io, print } from './io.ts';
import { type Column, cellText, tableText } from './table-text.ts';

export type Item = Record<string, unknown>;

/** Prints items as a table of some members, or as JSON with all members. */
export async function showList(items: Item[], columns: string[], { json }: CommonOptions, io: Io): Promise<void> {
  if (json) {
    await print(io.stdout, `${bodyText(items)}\n`);
    return;
  }
  if (items.length === 0) {
    io.stderr.write('No results.\n');
    return;
  }
  const tableColumns = columns.map((name) => ({
    name,
    isNumber: items.every((item) => typeof readMember(item, name) === 'number'),
  }));
  const rows = items.map((item) => Object.fromEntries(columns.map((name) => [name, readMember(item, name)])));
  await showTable(tableColumns, rows, io);
}

/** Prints rows as a table, truncated to the width of a terminal. */
export async function showTable(columns: Column[], rows: Item[], io: Io): Promise<void> {
  await print(io.stdout, `${tableText(columns, rows, io.stdout.isTTY ? io.stdout.columns : undefined)}\n`);
}

/** Reads nested members such as `schema.version`. */
function readMember(item: Item, name: string): unknown {
  return name.split('.').reduce<unknown>((value, part) => (value as Item | null | undefined)?.[part], item);
}

/** Prints one item, a line a member. */
export async function showOne(item: Item, { json }: CommonOptions, io: Io): Promise<void> {
  if (json) {
    await print(io.stdout, `${bodyText(item)}\n`);
    return;
  }
  const entries = Object.entries(item).filter(([, value]) => value !== undefined && value !== null);
  const widest = Math.max(0, ...entries.map(([name]) => name.length));
  const lines = entries.map(([name, value]) => `${name.padEnd(widest)}  ${cellText(value)}\n`);
  await print(io.stdout, lines.join(''));
}

const items_max = 10_000;

/** Fetches the pages of a list up to `limit` items. */
export async function fetchAll(
  timestore: Timestore,
  path: string,
  member: string,
  query: Record<string, string | number | undefined>,
  { limit = items_max, signal }: { limit?: number | undefined; signal: AbortSignal },
): Promise<Item[]> {
  const items: Item[] = [];
  let cursor: string | undefined;
  do {
    const page = await timestore.call<Item>('GET', path, { query: { ...query, cursor }, signal });
    items.push(...(page[member] as Item[]));
    cursor = typeof page.next === 'string' ? page.next : undefined;
  } while (cursor !== undefined && items.length < limit);
  return items.slice(0, limit);
}

/** Asks for confirmation. `--yes` skips the prompt. */
export async function confirm(what: string, { yes }: { yes?: boolean }, io: Io): Promise<void> {
  if (yes) return;
  if (!io.stdin.isTTY || !io.stderr.isTTY) throw usage(`${what} --yes skips confirmation prompts.`);
  const ask = createInterface({ input: io.stdin, output: io.stderr });
  try {
    const reply = await ask.question(`${what} Type yes to continue: `, { signal: io.signal });
    if (reply.trim().toLowerCase() !== 'yes') throw usage('Aborted.');
  } finally {
    ask.close();
  }
}
