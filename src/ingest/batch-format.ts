import * as z from 'zod';
import { ApiError } from '../core/errors.ts';
import { slug } from '../core/identifiers.ts';
import type { Limits } from '../core/limits.ts';
import { invalidValues, readJson, requireText } from '../core/request-text.ts';
import type { DeclaredSchema } from '../schema/declared.ts';
import { JsonReader, JsonSyntaxError } from '../schema/json-reader.ts';
import { timeText } from '../schema/lenient-time.ts';
import { parseTimestampText, type Time } from '../schema/timestamp.ts';
import { fieldType, timestampPrecision } from '../schema/types.ts';
import { idempotencyKey } from './idempotency-key.ts';
import type { IngestRequest } from './ingest.ts';

const time = z.union([z.string(), z.int()]);
const short = z.string().min(1).max(256);

/** The body of a batch: rows with schema and metadata. */
export const batchFormat = z.strictObject({
  datasetName: z
    .string()
    .min(1)
    .max(255)
    .optional()
    .meta({ description: 'title of the dataset, if this request creates it' }),
  tableName: slug.default('records'),
  schema: z
    .strictObject({
      fields: z
        .array(z.strictObject({ name: z.string(), type: fieldType }))
        .max(10_000)
        .default([]),
      timestampColumn: z.string().optional().meta({ description: 'for a new table; `timestamp` by default' }),
      timestampPrecision: timestampPrecision
        .optional()
        .meta({ description: 'for a new table: fractional digits of stored timestamps; 9 by default' }),
      keyFields: z
        .array(z.string())
        .max(16)
        .optional()
        .meta({ description: 'for a new table: the sort key before the timestamp' }),
      evolution: z
        .strictObject({
          defaults: z.record(z.string(), z.unknown()).optional().meta({
            description: 'values of new fields in rows without them, including rows stored before',
          }),
        })
        .optional(),
    })
    .optional()
    .meta({ description: 'unknown fields are added to the table; without a schema they are inferred from the rows' }),
  partition: z
    .strictObject({
      key: z.record(short, z.string().max(256)).optional().meta({ description: 'stored with each row, for filters' }),
      attributes: z.record(short, z.unknown()).optional().meta({ description: 'stored with the manifest' }),
      timeRange: z
        .strictObject({ start: time, end: time })
        .optional()
        .meta({ description: 'a row outside of start ≤ timestamp ≤ end is invalid' }),
    })
    .optional(),
  rows: z.union([z.array(z.record(z.string(), z.unknown())), z.record(z.string(), z.unknown())]),
  idempotencyKey: idempotencyKey.optional().meta({ description: 'same as the header `Idempotency-Key`' }),
  actor: z
    .union([short, z.record(short, z.unknown())])
    .optional()
    .meta({ description: 'sender of the batch; stored with the manifest' }),
});

const declared = batchFormat.shape.schema.unwrap();
const partitioned = batchFormat.shape.partition.unwrap();

/** The variant of the source system of a takeover, where null means absent. */
export const sourceBatchFormat = batchFormat.extend({
  datasetName: batchFormat.shape.datasetName.nullable(),
  storageTargetId: z
    .string()
    .max(255)
    .nullish()
    .meta({ description: 'accepted and ignored: the deployment chooses the storage' }),
  tableName: slug.nullish().meta({ description: '`records` by default' }),
  schema: declared
    .extend({
      evolution: declared.shape.evolution
        .unwrap()
        .extend({
          defaults: z.record(z.string(), z.unknown()).nullish(),
          backfill: z.boolean().nullish().meta({
            description: 'accepted and ignored: rows stored before always have the defaults of new fields',
          }),
        })
        .nullish(),
    })
    .optional(),
  partition: partitioned.extend({ attributes: partitioned.shape.attributes.nullable() }).optional(),
  idempotencyKey: batchFormat.shape.idempotencyKey.nullable(),
  actor: batchFormat.shape.actor.nullable(),
});

const ownHead = batchFormat.omit({ rows: true });
const sourceHead = sourceBatchFormat.omit({ rows: true });

export type BatchFormat = Pick<
  IngestRequest,
  'table' | 'datasetTitle' | 'text' | 'format' | 'source' | 'declared' | 'meta' | 'timeRange'
> & { idempotencyKey: string | undefined };

/**
 * Parses the body of a batch. The rows stay text, because parsing them would round integers beyond 2^53.
 *
 * @param form `original`: the variant of the source system of a takeover
 * @throws ApiError `malformed-body`, `invalid-request` with every problem, `limit-exceeded`
 */
export function parseBatch(source: string, limits: Limits, form: 'own' | 'original' = 'own'): BatchFormat {
  const members = splitMembers(source);
  const rows = members.get('rows');
  if (rows === undefined || !/^[[{]/.test(rows))
    throw invalidValues([{ path: 'rows', message: 'an array of rows, or one row' }]);
  const headMembers = [...members].filter(([name]) => name !== 'rows' && name !== 'schema');
  const head = readJson(
    `{${headMembers.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`,
  ) as object;
  // Not through `readJson`: its defaults stay text, so that large numbers in them are exact.
  const schemaText = members.get('schema');
  const declaredSchema = schemaText === undefined ? {} : { schema: JSON.parse(schemaText) as unknown };
  requireText(declaredSchema);
  const headValue = { ...head, ...declaredSchema };
  const parsed = form === 'own' ? ownHead.safeParse(headValue) : sourceHead.safeParse(headValue);
  if (!parsed.success) {
    throw invalidValues(parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message })));
  }
  const { datasetName, tableName, schema, partition, idempotencyKey, actor } = parsed.data;
  const time = (path: string, value: string | number) => {
    return readTime(path, form === 'original' && typeof value === 'string' ? timeText(value) : value);
  };
  const meta = encodeMeta({ ...partition, actor });
  requireWithin(meta, partition?.key ?? {}, limits);
  return {
    table: tableName ?? 'records',
    datasetTitle: datasetName ?? undefined,
    text: rows,
    format: 'json',
    source,
    idempotencyKey: idempotencyKey ?? undefined,
    meta,
    declared: schema && {
      fields: schema.fields,
      timestampColumn: schema.timestampColumn,
      timestampPrecision: schema.timestampPrecision,
      keyFields: schema.keyFields,
      defaults: readDefaults(members.get('schema') ?? '{}'),
    },
    timeRange: partition?.timeRange && {
      start: time('partition.timeRange.start', partition.timeRange.start),
      end: time('partition.timeRange.end', partition.timeRange.end),
    },
  };
}

/** The members of an object, each with its original text. */
function splitMembers(text: string): Map<string, string> {
  try {
    const reader = new JsonReader(text);
    if (reader.peek() !== '{') throw new JsonSyntaxError('expected an object', reader.offset);
    const members = reader.members();
    if (!reader.atEnd()) throw new JsonSyntaxError('more text after the end of the object', reader.offset);
    const found = new Map<string, string>();
    for (const { name, text: value } of members) {
      if (found.has(name)) throw invalidValues([{ path: name, message: 'is named twice' }]);
      found.set(name, value);
    }
    return found;
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new ApiError('malformed-body', `The body is not valid JSON at character ${error.offset}: ${error.message}.`);
  }
}

function readDefaults(schemaText: string): DeclaredSchema['defaults'] {
  const evolution = splitMembers(schemaText).get('evolution');
  const defaults = isNull(evolution) ? undefined : splitMembers(evolution).get('defaults');
  return isNull(defaults) ? [] : [...splitMembers(defaults)].map(([name, json]) => ({ name, json }));
}

function isNull(json: string | undefined): json is undefined | 'null' {
  return json === undefined || json === 'null';
}

/** JSON of the members that are present; '' without any. */
function encodeMeta(members: Record<string, unknown>): string {
  const present = Object.entries(members).filter(([, value]) => value !== undefined && value !== null);
  return present.length === 0 ? '' : JSON.stringify(Object.fromEntries(present));
}

function requireWithin(meta: string, key: Record<string, string>, limits: Limits): void {
  const { partition_key_entries_max, partition_meta_bytes_max } = limits;
  if (Object.keys(key).length > partition_key_entries_max) {
    throw limitExceeded(
      `partition.key: at most ${partition_key_entries_max} entries (limit partition_key_entries_max)`,
    );
  }
  if (Buffer.byteLength(meta) > partition_meta_bytes_max) {
    throw limitExceeded(
      `partition and actor: at most ${partition_meta_bytes_max} bytes together (limit partition_meta_bytes_max)`,
    );
  }
}

function readTime(path: string, value: string | number): Time {
  if (typeof value === 'number') return { time_ms: value, finer: '' };
  const time = parseTimestampText(value);
  if ('reason' in time) throw invalidValues([{ path, message: time.detail }]);
  return time;
}

function limitExceeded(detail: string): ApiError {
  return new ApiError('limit-exceeded', `${detail}.`);
}
