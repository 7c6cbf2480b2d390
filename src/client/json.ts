/** What may be a number that JSON.parse would round, or whose digits count. */
const needsDigits = /\d{16}|Decimal\(/;

/** A number as it was written, where reading it as a double would change it. */
export class Digits {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Context = { source?: string };

/** Of a whole number beyond 2^53 the digits that are written may be others than those that it has. */
const isExact = (value: number) => !Number.isInteger(value) || Number.isSafeInteger(value);

/** Undefined where the runtime does not tell how a number was written. */
const reviver = ((_: string, value: unknown, context?: Context) => {
  const source = context?.source;
  if (typeof value !== 'number' || source === undefined) return value;
  return String(value) === source && isExact(value) ? value : new Digits(source);
}) as (key: string, value: unknown) => unknown;

/** JSON with `Digits` in it. `hasDecimals`: also for short numbers. */
export function parseDigits(text: string, hasDecimals = false): { value: unknown; hasDigits: boolean } {
  if (!hasDecimals && !needsDigits.test(text)) return { value: JSON.parse(text), hasDigits: false };
  return { value: JSON.parse(text, reviver), hasDigits: true };
}

/** JSON with every integer exact: those beyond 2^53 as `bigint`, where the runtime tells how they were written. */
export function parseExact(text: string): unknown {
  const { value, hasDigits } = parseDigits(text);
  return hasDigits ? exact(value) : value;
}

/** The same of what `parseDigits` has read. */
export function exact(value: unknown): unknown {
  if (value instanceof Digits) return numberOf(value.text);
  if (Array.isArray(value)) return value.map(exact);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, exact(each)]));
}

/** An integer beyond 2^53 as `bigint`, any other number as the double that it is. */
export function numberOf(text: string): number | bigint {
  const number = Number(text);
  return Number.isSafeInteger(number) || !/^-?\d+$/.test(text) ? number : BigInt(text);
}
