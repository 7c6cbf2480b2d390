import { ApiError } from './errors.ts';

/** A dataset, a table of a dataset, or another thing with an id. */
type Thing =
  | { dataset: string; table?: string | undefined }
  | { kind: 'Export' | 'Import' | 'Job' | 'Key' | 'Table' | 'Webhook'; id: string };

/**
 * The error for a thing that does not exist, and for one that the key may not see. Both get it from here, so that a key
 * cannot find out what exists.
 */
export function notFound(thing: Thing): ApiError {
  return new ApiError('not-found', `${describe(thing)}.`);
}

function describe(thing: Thing): string {
  if ('kind' in thing) return `${thing.kind} ${thing.id} not found`;
  const { dataset, table } = thing;
  return table === undefined ? `Dataset ${dataset} not found` : `Table ${table} not found in dataset ${dataset}`;
}
