/** A difference as `GET /v1/monitor/schema` lists it. */
export type Difference = { table: string; column: string | null; what: string; expected: string; actual: string };

/** Such as `service_logs: retention is 30 days, not 90 days`. */
export function differenceText({ table, column, what, expected, actual }: Difference): string {
  const place = column === null ? table : `${table}.${column}`;
  return `${place}: ${what} is ${actual}, not ${expected}`;
}
