import * as z from 'zod';

export const pageLimit_max = 1_000;
const pageLimit = 100;

/** An integer in a range, as the text of a query parameter. */
export const wholeNumber = (least: number, most: number) =>
  z
    .string()
    .regex(/^[0-9]{1,15}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.int().min(least).max(most));

const cursor = (form: z.ZodType<string | undefined>) => form.meta({ description: '`next` of the previous page' });

/** Query parameters of a list. */
export const pageQuery = {
  cursor: cursor(z.string().max(1_000).optional()),
  limit: wholeNumber(1, pageLimit_max)
    .optional()
    .meta({ description: `entries in a page: ${pageLimit} by default, at most ${pageLimit_max}` }),
};

/** Query parameters of a list that is ordered by number. */
export const numberedQuery = {
  ...pageQuery,
  cursor: cursor(
    z
      .string()
      .regex(/^[0-9]{1,15}$/, 'must be `next` of a page of this list')
      .optional(),
  ),
};

export const nextSchema = z
  .string()
  .nullable()
  .meta({ description: '`cursor` of the next page; null on the last page' });

/** A page of a list. The query must return one entry more than the page, so that the last page is known. */
export function pageOf<Item>(found: Item[], limit = pageLimit): { items: Item[]; last: Item | undefined } {
  const items = found.slice(0, limit);
  return { items, last: found.length > limit ? items.at(-1) : undefined };
}

/** The number of entries to query for a page. */
export function wanted(limit = pageLimit): number {
  return limit + 1;
}

/** The value of a numeric cursor. */
export function numberOf(sent: string | undefined): number | undefined {
  return sent === undefined ? undefined : Number(sent);
}

export function timeText(time_ms: number): string {
  return new Date(time_ms).toISOString();
}
