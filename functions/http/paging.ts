import * as z from 'zod';

export const pageLimit_max = 1_000;
const pageLimit = 100;

/** A whole number between two, as a query parameter has it. */
export const wholeNumber = (least: number, most: number) =>
  z
    .string()
    .regex(/^[0-9]{1,15}$/, 'a whole number')
    .transform(Number)
    .pipe(z.int().min(least).max(most));

const cursor = (form: z.ZodType<string | undefined>) => form.meta({ description: '`next` of the page before' });

/** Query parameters of every list. */
export const pageQuery = {
  cursor: cursor(z.string().max(1_000).optional()),
  limit: wholeNumber(1, pageLimit_max)
    .optional()
    .meta({ description: `how many of a page: ${pageLimit} by default, at most ${pageLimit_max}` }),
};

/** The same of a list by number. */
export const numberedQuery = {
  ...pageQuery,
  cursor: cursor(
    z
      .string()
      .regex(/^[0-9]{1,15}$/, 'it is not one of this list')
      .optional(),
  ),
};

export const nextSchema = z.string().nullable().meta({ description: '`cursor` of the next page; null on the last' });

/** A page of a list, from one entry more than it has. */
export function pageOf<Item>(found: Item[], limit = pageLimit): { items: Item[]; last: Item | undefined } {
  const items = found.slice(0, limit);
  return { items, last: found.length > limit ? items.at(-1) : undefined };
}

/** How many entries to ask for. */
export function wanted(limit = pageLimit): number {
  return limit + 1;
}

/** A cursor that is a number. */
export function numberOf(sent: string | undefined): number | undefined {
  return sent === undefined ? undefined : Number(sent);
}

export function timeText(time_ms: number): string {
  return new Date(time_ms).toISOString();
}
