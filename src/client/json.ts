/** An integer that may be beyond 2^53. */
const longInteger = /\d{16}/;

type Context = { source?: string };

/** JSON with every integer exact: those beyond 2^53 as `bigint`, where the runtime tells how they were written. */
export function parseExact(text: string): unknown {
  if (!longInteger.test(text)) return JSON.parse(text);
  const reviver = (_: string, value: unknown, context?: Context) => {
    if (typeof value !== 'number' || Number.isSafeInteger(value) || !/^-?\d+$/.test(context?.source ?? ''))
      return value;
    return BigInt(context?.source ?? '');
  };
  return JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
}

const raw = (JSON as { rawJSON?: (text: string) => unknown }).rawJSON;

/** A row as a line: `bigint` as the digits it has, `Date` as its time in UTC. */
export function rowText(row: object): string {
  return JSON.stringify(row, (_, value: unknown) => {
    if (typeof value !== 'bigint') return value;
    return raw === undefined ? String(value) : raw(String(value));
  });
}
