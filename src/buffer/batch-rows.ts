import { storedTimestamp } from '../schema/timestamp.ts';
import type { TableSchema } from '../schema/types.ts';
import type { BufferedBatch } from './buffered-batch.ts';

/**
 * The rows of a batch with what identifies them in front, as text: they were validated when they were staged, and are
 * not parsed again. Each line of a payload begins with `{"_row":`; no value holds a line break.
 *
 * @param schema what the rows are given to: fields that it has by default and the batch did not know come in front too
 */
export function identifiedRows(batch: BufferedBatch, schema: TableSchema, lane?: number): string {
  const identity = identityOf(batch, schema, lane);
  return identity + batch.payload.slice(1).replaceAll('\n{', `\n${identity}`);
}

/** No fewer bytes than the rows of a batch have with what identifies them. */
export function identifiedBytesMax(batch: BufferedBatch, schema: TableSchema): number {
  return Buffer.byteLength(batch.payload) + batch.rows * Buffer.byteLength(identityOf(batch, schema));
}

/** The same for some of the rows, by their place in the batch. */
export function identifiedLines(
  batch: BufferedBatch,
  schema: TableSchema,
  isWanted: (row: number) => boolean,
): string[] {
  const identity = identityOf(batch, schema);
  const lines = batch.payload.split('\n');
  lines.pop(); // each line ends with a line break
  return lines.filter((_, row) => isWanted(row)).map((line) => `${identity}${line.slice(1)}\n`);
}

function identityOf(batch: BufferedBatch, schema: TableSchema, lane?: number): string {
  const { seq, receivedAt_ms, schemaVersion, meta } = batch;
  const key = partitionKeyOf(meta);
  return (
    `{${lane === undefined ? '' : `"_lane":${lane},`}"_seq":${seq},` +
    `"_received_at":"${storedTimestamp(receivedAt_ms)}",` +
    `${key === undefined ? '' : `"_partition":${JSON.stringify(key)},`}${youngerDefaults(schema, schemaVersion)}`
  );
}

/** Members, each with a comma after it, for fields with a default that rows of an older schema version do not name. */
export function youngerDefaults({ fields }: TableSchema, schemaVersion: number): string {
  return fields
    .filter((field) => field.default !== undefined && (field.since ?? 1) > schemaVersion)
    .map((field) => `${JSON.stringify(field.name)}:${field.default},`)
    .join('');
}

/** The partition key that the rows of a batch were sent with, if any. */
export function partitionKeyOf(meta: string): Record<string, string> | undefined {
  return meta === '' ? undefined : (JSON.parse(meta) as { key?: Record<string, string> }).key;
}
