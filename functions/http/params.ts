import * as z from 'zod';
import { slug } from '../../src/core/identifiers.ts';

export const datasetParams = { dataset: slug };
export const tableParams = { dataset: slug, table: slug };

/** An id is any text; the handler reports an unknown one as `not-found`. */
export const idParams = (description: string) => ({ id: z.string().meta({ description }) });

/**
 * The version that a change requires, as the numbers in its `ETag`; undefined without the header and for `*`.
 *
 * @param tag the form of the `ETag`, with a group for each number
 */
export const ifMatchHeader = (tag: RegExp) => ({
  'If-Match': z
    .string()
    .regex(new RegExp(`^(?:\\*|${tag.source.slice(1, -1)})$`), 'must be an ETag from an earlier response, or *')
    .transform((sent) => tag.exec(sent)?.slice(1).map(Number))
    .optional()
    .meta({ description: '`ETag` that the resource must still have, or `*`; otherwise the response is 412' }),
});
