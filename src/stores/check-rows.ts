import type * as z from 'zod';

/**
 * Rows of a store as the statement's author expects them.
 *
 * @throws Error for a row of another form: the statement or the schema of its rows is wrong, and no retry helps
 */
export function checkRows<Schema extends z.ZodType>(schema: Schema, rows: readonly unknown[]): z.output<Schema>[] {
  return rows.map((row) => {
    const { success, data, error } = schema.safeParse(row);
    if (success) return data;
    const places = error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
    throw new Error(`a row has another form than its statement was written for: ${places.join('; ')}`);
  });
}

/** For parts of a row that this program has stored as JSON itself, in a form that is checked where they are made. */
export function isRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
