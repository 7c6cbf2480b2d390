import type { Field, TableSchema } from '../schema/types.ts';

/** The table of each dataset that holds what could not be stored where it was sent to. No slug, so no client writes to it. */
export const quarantineTable = '_quarantine';

const fields: Field[] = [
  { name: 'timestamp', type: 'timestamp' }, // when it was refused, or put back
  { name: 'id', type: 'string' }, // of the refused row; the same however often it is told
  { name: 'event', type: 'string' }, // quarantined, or what became of it: replayed, stored, discarded
  { name: 'table', type: 'string' },
  { name: 'origin', type: 'string' }, // request: refused when it was sent; flush: acknowledged, and refused by ClickHouse
  { name: 'reason', type: 'string' },
  { name: 'detail', type: 'string' },
  { name: 'field', type: 'string' },
  { name: 'index', type: 'integer' }, // place in the request
  { name: 'physical', type: 'string' }, // what identifies a row that had been acknowledged
  { name: 'lane', type: 'integer' },
  { name: 'seq', type: 'integer' },
  { name: 'row', type: 'integer' },
  { name: 'schema_version', type: 'integer' },
  { name: 'meta', type: 'string' }, // what was said of its batch; of a row of CSV, the cells that its payload was made of
  { name: 'payload', type: 'string' }, // as it was sent; of a row that had been acknowledged, as it was buffered
  { name: 'object', type: 'string' }, // where the payload is, if it is large
  { name: 'bytes', type: 'integer' },
];

export const quarantineSchema: TableSchema = { version: 1, timestampColumn: 'timestamp', keyFields: [], fields };

/** A row of the table. */
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

/** Cells of CSV, whose meaning depends on the types that their fields have when they are sent again. */
export const csvMeta = (csv: string): string => JSON.stringify({ csv });

export function csvOf({ origin, meta }: QuarantineRecord): string | undefined {
  if (origin !== 'request' || meta === undefined || meta === '') return undefined;
  return (JSON.parse(meta) as { csv?: string }).csv;
}

/** A row in quarantine that nothing has become of yet. */
export type OpenRecord = QuarantineRecord & { timestamp: string };
