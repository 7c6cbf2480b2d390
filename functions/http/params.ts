import * as z from 'zod';
import { slug } from '../../src/core/identifiers.ts';

export const datasetParams = { dataset: slug };
export const tableParams = { dataset: slug, table: slug };

/** An identifier that is no name: the handler answers `not-found` for an unknown one. */
export const idParams = (description: string) => ({ id: z.string().meta({ description }) });

/**
 * The version that a change requires, as the numbers in its `ETag`; undefined without the header and for `*`.
 *
 * @param tag the form of the `ETag`, with a group for each number
 */
export const ifMatchHeader = (tag: RegExp) => ({
  'If-Match': z
    .string()
    .regex(new RegExp(`^(?:\\*|${tag.source.slice(1, -1)})$`), 'the ETag of an earlier answer, as it was sent')
    .transform((sent) => tag.exec(sent)?.slice(1).map(Number))
    .optional()
    .meta({ description: 'the `ETag` that it must still have, or `*`; 412 if somebody has changed it since' }),
});
