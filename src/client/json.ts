/** Text that may contain a number that JSON.parse would round, or a decimal. */
const needsDigits = /\d{16}|Decimal\(/;

/** The source text of a number that a double would change. */
export class Digits {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Context = { source?: string };

/** Integers beyond 2^53 print digits that may differ from their value. */
const isExact = (value: number) => !Number.isInteger(value) || Number.isSafeInteger(value);

/** Older runtimes give no `context`: numbers then stay doubles. */
const reviver = ((_: string, value: unknown, context?: Context) => {
  const source = context?.source;
  if (typeof value !== 'number' || source === undefined) return value;
  return String(value) === source && isExact(value) ? value : new Digits(source);
}) as (key: string, value: unknown) => unknown;

/** Parses JSON with `Digits` for inexact numbers. `hasDecimals`: also for decimals with few digits. */
export function parseDigits(text: string, hasDecimals = false): { value: unknown; hasDigits: boolean } {
  if (!hasDecimals && !needsDigits.test(text)) return { value: JSON.parse(text), hasDigits: false };
  return { value: JSON.parse(text, reviver), hasDigits: true };
}

/** Parses JSON with exact integers: those beyond 2^53 are `bigint`, if the runtime supports source text. */
export function parseExact(text: string): unknown {
  const { value, hasDigits } = parseDigits(text);
  return hasDigits ? exact(value) : value;
}

/** Replaces `Digits` in a parsed value. */
export function exact(value: unknown): unknown {
  if (value instanceof Digits) return parseNumber(value.text);
  if (Array.isArray(value)) return value.map(exact);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, exact(each)]));
}

/** An integer beyond 2^53 as a `bigint`, any other number as a double. */
export function parseNumber(text: string): number | bigint {
  const number = Number(text);
  return Number.isSafeInteger(number) || !/^-?\d+$/.test(text) ? number : BigInt(text);
}
