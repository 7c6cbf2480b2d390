import { type Command, Option } from 'commander';
import { type CommonOptions, connect } from '../../config.ts';
import { usage } from '../../failure.ts';
import type { Io } from '../../io.ts';
import { duration, number } from '../../options.ts';
import { confirm, type Item, showOne } from '../../show.ts';

export const states = ['active', 'frozen', 'archived'];

export type Listing = CommonOptions & { search?: string; state?: string; limit?: number };

export type Deleting = CommonOptions & { grace?: number; yes?: boolean };

export type Retention = { retentionDays?: number | 'none' | 'inherit'; hotDays?: number };

export const unless =
  <Word extends string>(word: Word, parse: (text: string) => number) =>
  (text: string): number | Word =>
    text === word ? word : parse(text);

export const days = number(1, 36_500);

export const retentionDays = (text: string) => (text === 'none' || text === 'inherit' ? text : days(text));

/** A retention of `null` keeps rows forever. */
export function buildRetention({ retentionDays: total, hotDays }: Retention): Item {
  if (total === undefined) {
    if (hotDays !== undefined) throw usage('--hot-days requires --retention-days.');
    return {};
  }
  if (total === 'inherit') return { retention: 'inherit' };
  return { retention: total === 'none' ? null : { totalDays: total, ...(hotDays !== undefined && { hotDays }) } };
}

export const listing = (command: Command): Command =>
  command
    .option('--search <text>', 'names that contain this text')
    .addOption(new Option('--state <state>').choices([...states, 'deleting']))
    .option('-n, --limit <n>', 'maximum number of results', number(1, 10_000));

export const deleting = (command: Command): Command =>
  command
    .option('--grace <time>', 'how long the deletion can be undone: 0s, 12h, 7d', duration)
    .option('-y, --yes', 'skip the confirmation prompt');

export async function remove(path: string, what: string, options: Deleting, io: Io): Promise<void> {
  const { timestore } = await connect(options, io);
  await confirm(what, options, io);
  const query = { graceSeconds: options.grace === undefined ? undefined : Math.ceil(options.grace / 1000) };
  await showOne(await timestore.call<Item>('DELETE', path, { query, signal: io.signal }), options, io);
}
