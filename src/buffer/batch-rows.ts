import { storedTimestamp } from '../schema/timestamp.ts';
import type { TableSchema } from '../schema/types.ts';
import type { BufferedBatch } from './buffered-batch.ts';

/**
 * The rows of a batch, each prefixed with its identity. The rows were validated when they were staged, so they are not parsed
 * again. Each line of a payload begins with `{"_row":`; no value contains a line break.
 *
 * @param schema the current schema: the prefix contains the defaults of fields newer than the batch too
 */
export function identifiedRows(batch: BufferedBatch, schema: TableSchema, lane?: number): string {
  const identity = buildIdentity(batch, schema, lane);
  return identity + batch.payload.slice(1).replaceAll('\n{', `\n${identity}`);
}

/** An upper bound of the bytes of `identifiedRows`. */
export function identifiedBytesMax(batch: BufferedBatch, schema: TableSchema): number {
  return Buffer.byteLength(batch.payload) + batch.rows * Buffer.byteLength(buildIdentity(batch, schema));
}

/** `identifiedRows` for the rows that `isWanted` selects by their index in the batch. */
export function identifiedLines(
  batch: BufferedBatch,
  schema: TableSchema,
  isWanted: (row: number) => boolean,
): string[] {
  const identity = buildIdentity(batch, schema);
  const lines = batch.payload.split('\n');
  lines.pop(); // each line ends with a line break
  return lines.filter((_, row) => isWanted(row)).map((line) => `${identity}${line.slice(1)}\n`);
}

function buildIdentity(batch: BufferedBatch, schema: TableSchema, lane?: number): string {
  const { seq, receivedAt_ms, schemaVersion, meta } = batch;
  const key = parsePartitionKey(meta);
  return (
    `{${lane === undefined ? '' : `"_lane":${lane},`}"_seq":${seq},` +
    `"_received_at":"${storedTimestamp(receivedAt_ms)}",` +
    `${key === undefined ? '' : `"_partition":${JSON.stringify(key)},`}${youngerDefaults(schema, schemaVersion)}`
  );
}

/** Members, each followed by a comma, for fields with a default that are newer than a schema version. */
export function youngerDefaults({ fields }: TableSchema, schemaVersion: number): string {
  return fields
    .filter((field) => field.default !== undefined && (field.since ?? 1) > schemaVersion)
    .map((field) => `${JSON.stringify(field.name)}:${field.default},`)
    .join('');
}

/** The partition key in the metadata of a batch. */
export function parsePartitionKey(meta: string): Record<string, string> | undefined {
  return meta === '' ? undefined : (JSON.parse(meta) as { key?: Record<string, string> }).key;
}
