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

/** The body of the batch form: rows and what is said of them. */
export const batchFormat = z.strictObject({
  datasetName: z
    .string()
    .min(1)
    .max(255)
    .optional()
    .meta({ description: 'what people call the dataset, if this makes it' }),
  tableName: slug.default('records'),
  schema: z
    .strictObject({
      fields: z
        .array(z.strictObject({ name: z.string(), type: fieldType }))
        .max(10_000)
        .default([]),
      timestampColumn: z.string().optional().meta({ description: 'of a new table; `timestamp` by default' }),
      timestampPrecision: timestampPrecision
        .optional()
        .meta({ description: 'of a new table: digits of a second that timestamps keep; 9 by default' }),
      keyFields: z
        .array(z.string())
        .max(16)
        .optional()
        .meta({ description: 'of a new table: the sort key before the timestamp' }),
      evolution: z
        .strictObject({
          defaults: z.record(z.string(), z.unknown()).optional().meta({
            description: 'of new fields: what rows have that do not name them, those stored before included',
          }),
        })
        .optional(),
    })
    .optional()
    .meta({ description: 'fields that no schema has yet are added; without it they are inferred from the rows' }),
  partition: z
    .strictObject({
      key: z.record(short, z.string().max(256)).optional().meta({ description: 'kept with each row, to filter by' }),
      attributes: z.record(short, z.unknown()).optional().meta({ description: 'kept with the manifest' }),
      timeRange: z
        .strictObject({ start: time, end: time })
        .optional()
        .meta({ description: 'a row outside of start ≤ timestamp ≤ end is at fault' }),
    })
    .optional(),
  rows: z.union([z.array(z.record(z.string(), z.unknown())), z.record(z.string(), z.unknown())]),
  idempotencyKey: idempotencyKey.optional().meta({ description: 'the same as the header' }),
  actor: z
    .union([short, z.record(short, z.unknown())])
    .optional()
    .meta({ description: 'who sends this; kept with the manifest' }),
});

const declared = batchFormat.shape.schema.unwrap();
const partitioned = batchFormat.shape.partition.unwrap();

/** The same as the system takes it that datasets are taken over from. Null is the same as absent. */
export const sourceBatchFormat = batchFormat.extend({
  datasetName: batchFormat.shape.datasetName.nullable(),
  storageTargetId: z
    .string()
    .max(255)
    .nullish()
    .meta({ description: 'rows are stored where the deployment stores them' }),
  tableName: slug.nullish().meta({ description: '`records` by default' }),
  schema: declared
    .extend({
      evolution: declared.shape.evolution
        .unwrap()
        .extend({
          defaults: z.record(z.string(), z.unknown()).nullish(),
          backfill: z.boolean().nullish().meta({
            description: 'rows stored before have the defaults of new fields, whatever this says',
          }),
        })
        .nullish(),
    })
    .optional(),
  partition: partitioned.extend({ attributes: partitioned.shape.attributes.nullable() }).optional(),
  idempotencyKey: batchFormat.shape.idempotencyKey.nullable(),
  actor: batchFormat.shape.actor.nullable(),
});

const ownRest = batchFormat.omit({ rows: true });
const originalRest = sourceBatchFormat.omit({ rows: true });

export type BatchFormat = Pick<
  IngestRequest,
  'table' | 'datasetTitle' | 'text' | 'format' | 'source' | 'declared' | 'meta' | 'timeRange'
> & { idempotencyKey: string | undefined };

/**
 * Reads the batch form. The rows stay the text that was sent: building them would round integers beyond 2^53.
 *
 * @param form `original`: as the system sends it that datasets are taken over from
 * @throws TimestoreError `malformed-body`, `invalid-request` with every problem, `limit-exceeded`
 */
export function readBatchForm(source: string, limits: Limits, form: 'own' | 'original' = 'own'): BatchFormat {
  const members = membersOf(source);
  const rows = members.get('rows');
  if (rows === undefined || !/^[[{]/.test(rows))
    throw invalidValues([{ path: 'rows', message: 'an array of rows, or one row' }]);
  const kept = [...members].filter(([name]) => name !== 'rows' && name !== 'schema');
  const rest = readJson(`{${kept.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`) as object;
  // Its defaults are kept as text, whatever their numbers are.
  const schemaText = members.get('schema');
  const declaredSchema = schemaText === undefined ? {} : { schema: JSON.parse(schemaText) as unknown };
  requireText(declaredSchema);
  const sent = { ...rest, ...declaredSchema };
  const parsed = form === 'own' ? ownRest.safeParse(sent) : originalRest.safeParse(sent);
  if (!parsed.success) {
    throw invalidValues(parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message })));
  }
  const { datasetName, tableName, schema, partition, idempotencyKey, actor } = parsed.data;
  const time = (path: string, value: string | number) => {
    return timeOf(path, form === 'original' && typeof value === 'string' ? timeText(value) : value);
  };
  const meta = metaOf({ ...partition, actor });
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
      defaults: defaultsOf(members.get('schema') ?? '{}'),
    },
    timeRange: partition?.timeRange && {
      start: time('partition.timeRange.start', partition.timeRange.start),
      end: time('partition.timeRange.end', partition.timeRange.end),
    },
  };
}

/** The members of an object, each as the text it was sent as. */
function membersOf(text: string): Map<string, string> {
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

function defaultsOf(schemaText: string): DeclaredSchema['defaults'] {
  const evolution = membersOf(schemaText).get('evolution');
  const defaults = isNothing(evolution) ? undefined : membersOf(evolution).get('defaults');
  return isNothing(defaults) ? [] : [...membersOf(defaults)].map(([name, json]) => ({ name, json }));
}

function isNothing(json: string | undefined): json is undefined | 'null' {
  return json === undefined || json === 'null';
}

/** '' where nothing was said. */
function metaOf(said: Record<string, unknown>): string {
  const told = Object.entries(said).filter(([, value]) => value !== undefined && value !== null);
  return told.length === 0 ? '' : JSON.stringify(Object.fromEntries(told));
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

function timeOf(path: string, value: string | number): Time {
  if (typeof value === 'number') return { time_ms: value, finer: '' };
  const time = parseTimestampText(value);
  if ('reason' in time) throw invalidValues([{ path, message: time.detail }]);
  return time;
}

function limitExceeded(detail: string): ApiError {
  return new ApiError('limit-exceeded', `${detail}.`);
}
