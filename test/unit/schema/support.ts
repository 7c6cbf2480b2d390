import { readConfig } from '../../../src/core/config.ts';
import { cutBatches } from '../../../src/ingest/split-batches.ts';
import { prepareRows, type RowFormat } from '../../../src/schema/prepare.ts';
import type { TimePrecision } from '../../../src/schema/timestamp.ts';
import type { Field, TableSchema } from '../../../src/schema/types.ts';

const complete = {
  TIMESTORE_ADMIN_KEY: 'a-long-secret',
  UPSTASH_REDIS_REST_URL: 'https://redis.example',
  UPSTASH_REDIS_REST_TOKEN: 'token',
  DATABASE_URL: 'postgresql://user:password@db.example/timestore',
  CLICKHOUSE_URL: 'https://clickhouse.example:8443',
  CLICKHOUSE_USER: 'writer',
  CLICKHOUSE_PASSWORD: 'w',
  CLICKHOUSE_READER_USER: 'reader',
  CLICKHOUSE_READER_PASSWORD: 'r',
  S3_ENDPOINT: 'https://s3.example',
  S3_REGION: 'auto',
  S3_BUCKET: 'bucket',
  S3_ACCESS_KEY_ID: 'id',
  S3_SECRET_ACCESS_KEY: 'secret',
};

/** A complete environment, as a deployment has it. */
export const environment: Readonly<Record<string, string>> = complete;

export function schemaOf(...fields: Field[]): TableSchema {
  return {
    version: 1,
    timestampColumn: 'timestamp',
    timestampPrecision: 9,
    keyFields: [],
    fields: [{ name: 'timestamp', type: 'timestamp' }, ...fields],
  };
}

export function prepare(text: string, { schema = schemaOf(), format = 'json' as RowFormat, limits = {} } = {}) {
  const prepared = prepareRows(text, format, schema, { ...readConfig(complete).limits, ...limits });
  const rows = prepared.lines.length;
  const [batch] = cutBatches(prepared, { rows: [rows], quarantined: [] }, 'day');
  return { ...prepared, ...batch, rows, payload: batch?.payload ?? '' };
}

/** One value in a field of the given type: its stored JSON text, or why it was refused. */
export function store(type: Field['type'], json: string, timestampPrecision: TimePrecision = 9): string {
  const schema = { ...schemaOf({ name: 'f', type }), timestampPrecision };
  const { payload, errors } = prepare(`{"timestamp":0,"f":${json}}`, { schema });
  const [error] = errors;
  if (error !== undefined) return error.reason;
  return /"f":(.*)\}\n$/.exec(payload)?.[1] ?? 'absent';
}
