import { InvalidArgumentError, Option } from 'commander';
import type { CommonOptions } from './config.ts';
import { usage } from './failure.ts';

/** A whole number between two. */
export function number(lowest: number, highest: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= lowest && value <= highest) return value;
    throw new InvalidArgumentError(`It is a whole number from ${lowest} to ${highest}.`);
  };
}

const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** `90s`, `5m`, `7d`; in ms. */
export function duration(text: string): number {
  const [, amount, unit = ''] = /^(\d+)(ms|s|m|h|d|w)$/.exec(text) ?? [];
  if (amount === undefined) throw new InvalidArgumentError('It is a number with its unit: 30s, 5m, 12h, 7d.');
  return Number(amount) * (units[unit] ?? 1);
}

/** Of a command that tries again: for how long, in ms. */
export type PatientOptions = CommonOptions & { patience: number };

export const patienceOption = (description: string, time = '2m'): Option =>
  new Option('--patience <time>', description).argParser(duration).default(duration(time), time);

/** The two sides of what an option takes in a form such as `NAME=VALUE` or `NAME:TYPE`. Throws CliFailure. */
export function verificationSides(option: string, text: string, form: string): [left: string, right: string] {
  const [sign = '='] = /[=:]/.exec(form) ?? [];
  const at = text.indexOf(sign);
  if (at < 1) throw usage(`${option} ${text}: write ${form}.`);
  return [text.slice(0, at), text.slice(at + 1)];
}

const renameForm = 'OLD:NEW';

/** Names of a file that are others in the table: `_time:timestamp,_id:id`. Before a comma or colon of a name stands a backslash. */
export const renameOption = (): Option =>
  new Option(
    '--rename <old:new>',
    'names of the files that are others in the table; more with commas between',
  ).argParser((text: string, before: Record<string, string> = {}) => {
    const names: Record<string, string> = Object.assign(Object.create(null), before);
    for (const pair of text.match(/(?:\\.|[^,\\])+/gs) ?? []) {
      const [, from, to] = /^((?:\\.|[^:\\])+):((?:\\.|[^:\\])+)$/s.exec(pair) ?? [];
      if (from === undefined || to === undefined) throw new InvalidArgumentError(`${pair}: write ${renameForm}.`);
      const plain = (name: string) => name.replace(/\\(.)/gs, '$1');
      if (Object.values(names).includes(plain(to))) {
        throw new InvalidArgumentError(`Two names cannot become ${plain(to)}.`);
      }
      names[plain(from)] = plain(to);
    }
    return { ...names };
  });

/** For an option that may be given several times. */
export const collect = (value: string, before: string[] = []): string[] => [...before, value];
