import type * as z from 'zod';

/**
 * Validates rows of a store against the schema of their statement.
 *
 * @throws Error for an unexpected row: the statement or its schema is wrong, so a retry does not help
 */
export function checkRows<Schema extends z.ZodType>(schema: Schema, rows: readonly unknown[]): z.output<Schema>[] {
  return rows.map((row) => {
    const { success, data, error } = schema.safeParse(row);
    if (success) return data;
    const places = error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
    throw new Error(`unexpected row of a statement: ${places.join('; ')}`);
  });
}

/** For parts of a row that this program has stored as JSON itself, in a form that is checked where they are made. */
export function isRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
