import { InvalidArgumentError, Option } from 'commander';
import type { CommonOptions } from './config.ts';
import { usage } from './failure.ts';

/** An integer within bounds. */
export function number(lowest: number, highest: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= lowest && value <= highest) return value;
    throw new InvalidArgumentError(`Expected an integer from ${lowest} to ${highest}.`);
  };
}

const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** Parses `90s`, `5m`, `7d` to ms. */
export function duration(text: string): number {
  const [, amount, unit = ''] = /^(\d+)(ms|s|m|h|d|w)$/.exec(text) ?? [];
  if (amount === undefined) throw new InvalidArgumentError('Expected a number with a unit: 30s, 5m, 12h, 7d.');
  return Number(amount) * (units[unit] ?? 1);
}

/** Options of commands that retry; `patience` in ms. */
export type PatientOptions = CommonOptions & { patience: number };

export const patienceOption = (description: string, time = '2m'): Option =>
  new Option('--patience <time>', description).argParser(duration).default(duration(time), time);

/** Splits a value of a form such as `NAME=VALUE` or `NAME:TYPE`. Throws CliFailure. */
export function splitPair(option: string, text: string, form: string): [left: string, right: string] {
  const [sign = '='] = /[=:]/.exec(form) ?? [];
  const at = text.indexOf(sign);
  if (at < 1) throw usage(`${option} ${text}: expected ${form}.`);
  return [text.slice(0, at), text.slice(at + 1)];
}

const renameForm = 'OLD:NEW';

/** Names in files and in the table: `_time:timestamp,_id:id`. A backslash escapes a comma or a colon. */
export const renameOption = (): Option =>
  new Option('--rename <old:new>', 'rename fields of the files; comma-separated').argParser(
    (text: string, before: Record<string, string> = {}) => {
      const names: Record<string, string> = Object.assign(Object.create(null), before);
      for (const pair of text.match(/(?:\\.|[^,\\])+/gs) ?? []) {
        const [, from, to] = /^((?:\\.|[^:\\])+):((?:\\.|[^:\\])+)$/s.exec(pair) ?? [];
        if (from === undefined || to === undefined) throw new InvalidArgumentError(`${pair}: expected ${renameForm}.`);
        const plain = (name: string) => name.replace(/\\(.)/gs, '$1');
        if (Object.values(names).includes(plain(to))) {
          throw new InvalidArgumentError(`Two fields are renamed to ${plain(to)}.`);
        }
        names[plain(from)] = plain(to);
      }
      return { ...names };
    },
  );

/** Collects the values of a repeatable option. */
export const collect = (value: string, before: string[] = []): string[] => [...before, value];
