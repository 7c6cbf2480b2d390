import { ClickHouseError, clickhouseCodes, type Settings } from '../clickhouse/client.ts';
import type { At } from '../clickhouse/cluster.ts';
import { askLong, objectFunction } from '../clickhouse/object.ts';
import { StoreError, TimestoreError } from '../errors.ts';
import { type ExportFormat, exportFormats } from '../export/day.ts';
import { quoteName, quoteString } from '../names.ts';
import type { SourceColumn } from './columns.ts';

/** Formats of objects that are read; those that are written. */
export type ImportFormat = ExportFormat;

/** Whether values in it have types of their own. */
export const isTyped = (format: ImportFormat) => format === 'parquet';

const settings: Settings = {
  ...{ session_timezone: 'UTC', precise_float_parsing: 1, max_threads: 1 },
  // Nothing is remembered of an object that had this name before.
  ...{ schema_inference_use_cache_for_s3: 0, use_cache_for_count_from_files: 0 },
  // An empty cell is null; in quotes it is the empty string.
  ...{ format_csv_null_representation: '', input_format_csv_empty_as_default: 0, input_format_null_as_default: 0 },
  ...{ input_format_csv_trim_whitespaces: 0 },
  // Which there are is looked at first; what is not wanted of them is passed over.
  ...{ input_format_skip_unknown_fields: 1 },
  // The text of every value, as it was written.
  ...{ input_format_json_read_numbers_as_strings: 1, input_format_json_read_bools_as_strings: 1 },
  ...{ input_format_json_read_arrays_as_strings: 1, input_format_json_read_objects_as_strings: 1 },
  // What CSV shows of its types.
  ...{
    input_format_try_infer_exponent_floats: 1,
    input_format_try_infer_datetimes: 0,
    input_format_try_infer_dates: 0,
  },
  // Rows in the order of the object.
  ...{ input_format_parquet_preserve_order: 1, max_parsing_threads: 1 },
};

/**
 * What columns an object has, in their order.
 *
 * @throws TimestoreError `invalid-request` for one that is not there or cannot be read as this; StoreError
 */
export async function columnsOf(at: At, key: string, format: ImportFormat): Promise<SourceColumn[]> {
  if (format === 'ndjson') return await membersOf(at, key);
  const object = objectFunction(at, key, exportFormats[format].clickhouse);
  const columns = await described(at, key, format, `DESCRIBE TABLE ${object} FORMAT JSONEachRow`, 'auto');
  const names = new Set<string>();
  const twice = columns.find(({ name }) => names.has(name) || !names.add(name));
  if (twice !== undefined) throw unreadable(key, `names the column ${twice.name} twice`);
  return columns;
}

/** A member may come late, or be another kind of value in another row: each one is looked at. */
async function membersOf(at: At, key: string): Promise<SourceColumn[]> {
  const rows = `SELECT rowNumberInAllBlocks() AS row, json FROM ${objectFunction(at, key, 'JSONAsString')}`;
  const members = `SELECT row, place, member.1 AS name, member.2 AS text, toString(JSONType(text)) AS kind
     FROM (${rows}) ARRAY JOIN JSONExtractKeysAndValuesRaw(json) AS member, arrayEnumerate(JSONExtractKeysAndValuesRaw(json)) AS place`;
  const strings = `arrayAll(item -> toString(JSONType(item)) = 'String', JSONExtractArrayRaw(text)) AND text != '[]'`;
  return await described(
    at,
    key,
    'ndjson',
    `SELECT name, multiIf(
         empty(kinds), 'String', kinds = ['Bool'], 'Bool', kinds = ['Array'] AND areStrings, 'Array(String)',
         hasAny(kinds, ['Array', 'Object']), 'JSON',
         hasAll(['Int64', 'UInt64'], kinds) AND isBeyondDouble, if(isBeyondInt64, 'UInt64', 'Int64'),
         hasAll(['Int64', 'UInt64', 'Double'], kinds), 'Float64', 'String') AS type
       FROM (SELECT name, min((row, place)) AS first, arraySort(groupUniqArrayIf(kind, kind != 'Null')) AS kinds,
                    min(kind != 'Array' OR ${strings}) AS areStrings,
                    max(abs(toInt256OrZero(text)) > 9007199254740992) AS isBeyondDouble,
                    max(toInt256OrZero(text) > 9223372036854775807) AS isBeyondInt64
               FROM (${members}) GROUP BY name)
      ORDER BY first FORMAT JSONEachRow`,
    'json String',
  );
}

async function described(
  at: At,
  key: string,
  format: ImportFormat,
  statement: string,
  structure: string,
): Promise<SourceColumn[]> {
  const text = await asked(at, key, format, statement, { ...settings, param__columns: structure });
  const lines = text.split('\n').filter((line) => line !== '');
  const columns = lines.map((line) => JSON.parse(line) as SourceColumn).map(({ name, type }) => ({ name, type }));
  if (columns.length === 0) throw unreadable(key, 'holds no rows');
  return columns;
}

/**
 * Runs an INSERT of what an object holds.
 *
 * @param insert its beginning, up to the names of the columns
 * @param selected what of the object's columns, `_place` being the place of the row in it, from 0
 * @param etag what the object must be, all the time that it is read
 * @throws TimestoreError `invalid-request`, `conflict` where it is another by now; StoreError
 */
export async function insertObject(
  at: At,
  { key, format, etag, columns }: { key: string; format: ImportFormat; etag: string; columns: SourceColumn[] },
  insert: string,
  selected: string,
  params: Settings,
): Promise<void> {
  const object = objectFunction(at, key, exportFormats[format].clickhouse);
  const structure = isTyped(format)
    ? 'auto'
    : columns.map(({ name }) => `${quoteName(name)} Nullable(String)`).join(', ');
  const read = `SELECT *, rowNumberInAllBlocks() AS _place, throwIf(_etag != {_etag:String}, 'changed') AS _changed FROM ${object}`;
  await asked(at, key, format, `${insert} SELECT ${selected} FROM (${read}) WHERE _changed = 0`, {
    ...{ ...settings, ...params, param__columns: structure, param__etag: etag },
    // One stream of blocks, in the order of the object; what is stored twice is told by the count.
    ...{ async_insert: 0, insert_deduplicate: 0, max_insert_threads: 1, max_query_size: 4_194_304 },
  });
}

async function asked(at: At, key: string, format: ImportFormat, statement: string, given: Settings): Promise<string> {
  try {
    return await askLong(at, statement, given);
  } catch (error) {
    if (!(error instanceof ClickHouseError)) throw error;
    if (error.code === clickhouseCodes.tooDeepRecursion && format === 'ndjson') throw await tooDeep(at, key);
    throw reasonOf(at, error, key, format);
  }
}

/** ClickHouse does not say which row it is, unlike of everything else that it cannot read. */
async function tooDeep(at: At, key: string): Promise<Error> {
  const outside = `replaceRegexpAll(json, ${quoteString('"(?:[^"\\\\]|\\\\.)*"')}, '')`;
  const opened = `if(bracket IN ('[', '{'), 1, -1)`;
  const brackets = `extractAll(${outside}, ${quoteString('[\\[\\]{}]')})`;
  const text = await askLong(
    at,
    `SELECT argMax(row, depth) FROM (SELECT rowNumberInAllBlocks() + 1 AS row, arrayMax(arrayCumSum(bracket -> ${opened}, ${brackets})) AS depth
       FROM ${objectFunction(at, key, 'JSONAsString')}) FORMAT TabSeparated`,
    { ...settings, param__columns: 'json String' },
  );
  return unreadable(key, `cannot be read as ndjson at row ${text.trim()}, which nests too deep`);
}

const codes = { thrown: 395, s3: 499 };

/** Codes of what is wrong with the bytes of an object. All others may pass, or are of the server. */
const dataErrors = new Set([
  // Broken off, unpacked badly, or not of the format at all.
  ...[6, 23, 25, 26, 27, 32, 33, 34, 38, 41, 53, 69, 70, 72, 74, 117, 128, 130, 131, 142, 190, 210, 246, 271, 306, 321],
  ...[349, 354, 407, 424, 432, 467, 556, 561, 563, 636, 650, 1001, 1002],
]);

function reasonOf(at: At, error: ClickHouseError, key: string, format: ImportFormat): Error {
  const { code, message } = error;
  if (code === codes.thrown) {
    return new TimestoreError('conflict', `Object ${key} was written again while it was read. It is read anew.`);
  }
  if (code === codes.s3) {
    if (/404|NoSuchKey|does not exist/i.test(message)) return unreadable(key, 'is not in the bucket');
    return new StoreError('s3', `does not give ClickHouse object ${key}`, error);
  }
  if (code === clickhouseCodes.timeoutExceeded || code === clickhouseCodes.tooSlow) {
    const minutes = Math.round(at.config.limits.export_timeout_ms / 60_000);
    return new TimestoreError(
      'limit-exceeded',
      `Object ${key} takes more than ${minutes} minutes to read; cut it into smaller ones.`,
    );
  }
  if (!dataErrors.has(code)) return error;
  if (/different amount of values/.test(message)) return unreadable(key, 'has rows of different numbers of values');
  const row = /\(at row (\d+)\)/.exec(message)?.[1];
  const where = row === undefined ? ': it is empty, cut off, damaged or of another format' : ` at row ${row}`;
  return unreadable(key, `cannot be read as ${format}${where} (ClickHouse’s error ${code})`);
}

export function unreadable(key: string, what: string): TimestoreError {
  return new TimestoreError('invalid-request', `Object ${key} ${what}.`);
}
