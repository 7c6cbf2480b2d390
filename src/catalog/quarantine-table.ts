import type { Field, TableSchema } from '../schema/types.ts';

/** The table of rejected rows in each dataset. The name is not a slug, so no client can write to it. */
export const quarantineTable = '_quarantine';

const fields: Field[] = [
  { name: 'timestamp', type: 'timestamp' }, // time of the event
  { name: 'id', type: 'string' }, // of the rejected row; stable over repetitions
  { name: 'event', type: 'string' }, // quarantined, replayed, stored or discarded
  { name: 'table', type: 'string' },
  { name: 'origin', type: 'string' }, // request: rejected at ingest; flush: acknowledged, then rejected by ClickHouse
  { name: 'reason', type: 'string' },
  { name: 'detail', type: 'string' },
  { name: 'field', type: 'string' },
  { name: 'index', type: 'integer' }, // index in the request
  { name: 'physical', type: 'string' }, // this and the next three members identify an acknowledged row
  { name: 'lane', type: 'integer' },
  { name: 'seq', type: 'integer' },
  { name: 'row', type: 'integer' },
  { name: 'schema_version', type: 'integer' },
  { name: 'meta', type: 'string' }, // metadata of the batch; for a CSV row, its cells
  { name: 'payload', type: 'string' }, // the row as sent; for an acknowledged row, as buffered
  { name: 'object', type: 'string' }, // object key of a large payload
  { name: 'bytes', type: 'integer' },
];

export const quarantineSchema: TableSchema = { version: 1, timestampColumn: 'timestamp', keyFields: [], fields };

/** A row of the quarantine table. */
export type QuarantineRecord = {
  id: string;
  event: 'quarantined' | 'replayed' | 'stored' | 'discarded';
  table: string;
  origin: 'request' | 'flush';
  reason?: string;
  detail?: string;
  field?: string | null;
  index?: number;
  physical?: string;
  lane?: number;
  seq?: number;
  row?: number;
  schema_version?: number;
  meta?: string;
  payload?: string;
  object?: string;
  bytes?: number;
};

/** CSV cells are stored, because their meaning depends on the field types at the time of the replay. */
export const csvMeta = (csv: string): string => JSON.stringify({ csv });

export function csvOf({ origin, meta }: QuarantineRecord): string | undefined {
  if (origin !== 'request' || meta === undefined || meta === '') return undefined;
  return (JSON.parse(meta) as { csv?: string }).csv;
}

/** A quarantined row without a later event. */
export type OpenRecord = QuarantineRecord & { timestamp: string };
