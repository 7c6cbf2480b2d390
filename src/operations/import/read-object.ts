import { askLong, objectFunction } from '../../catalog/object-table.ts';
import { ApiError, StoreError } from '../../core/errors.ts';
import { quoteName } from '../../core/identifiers.ts';
import { missingName, type Rename, renamed } from '../../schema/rename.ts';
import { ClickHouseError, clickhouseCodes, type Settings } from '../../stores/clickhouse/client.ts';
import type { OperationNode } from '../deps.ts';
import { type ExportFormat, exportFormats } from '../export/day.ts';
import type { SourceColumn } from './columns.ts';
import { footerOf } from './parquet-footer.ts';
import { changedText, plainOf, readType } from './source-type.ts';

/** Formats of objects that are read; those that are written. */
export type ImportFormat = ExportFormat;

const settings: Settings = {
  session_timezone: 'UTC',
  precise_float_parsing: 1,
  max_threads: 1,
  // Nothing is remembered of an object that had this name before.
  schema_inference_use_cache_for_s3: 0,
  use_cache_for_count_from_files: 0,
  // Which columns there are is looked at first; what is not wanted of them is passed over.
  input_format_null_as_default: 0,
  input_format_skip_unknown_fields: 1,
  // JSON is kept as the text that it is.
  input_format_parquet_enable_json_parsing: 0,
  output_format_json_escape_forward_slashes: 0,
  // Rows in the order of the object.
  input_format_parquet_preserve_order: 1,
  max_parsing_threads: 1,
};

/**
 * What columns a Parquet object has, in their order.
 *
 * @throws TimestoreError `invalid-request` for one that is not there or cannot be read as this; StoreError
 */
export async function columnsOf(
  node: OperationNode,
  source: Source & { bytes: number; rename: Rename | undefined },
): Promise<SourceColumn[]> {
  const { key, rename } = source;
  const object = objectFunction(node, key, exportFormats.parquet.clickhouse);
  const statement = `DESCRIBE TABLE ${object} FORMAT JSONEachRow`;
  const params = { ...settings, print_pretty_type_names: 0, param__columns: 'auto' };
  const text = await asked(node, key, 'parquet', statement, params);
  const lines = text.split('\n').filter((line) => line !== '');
  const described = lines.map((line) => JSON.parse(line) as { name: string; type: string });
  if (described.length === 0) throw unreadable(key, 'holds no rows');
  const missing = missingName(
    rename,
    described.map(({ name }) => name),
  );
  if (missing !== undefined) throw unreadable(key, `has no column ${missing}, which is to be renamed`);
  const names = new Set<string>();
  const all = described.map(({ name, type }) => ({ name: renamed(rename, name), original: name, type }));
  const twice = all.find(({ name }) => names.has(name) || !names.add(name));
  if (twice !== undefined) throw unreadable(key, `names the column ${twice.name} twice`);
  const nodes = await footerOf(node, source);
  return all.map((column) => ({ ...column, type: withNumbers(column.type), node: nodes.get(column.original) }));
}

/** Days are read as numbers: ClickHouse's own type has those of 1900 to 2299, and fails for any other. */
function withNumbers(type: string): string {
  return changedText(readType(type), (leaf) => (plainOf(leaf).name === 'Date32' ? 'Int32' : leaf.text));
}

/** An object, and the etag that it must have all the time that it is read. */
type Source = { key: string; etag: string };

/**
 * Runs an INSERT of what a Parquet object holds.
 *
 * @param insert its beginning, up to the names of the columns
 * @param selected what of the object's columns, `_place` being the place of the row in it, from 0
 * @throws TimestoreError `invalid-request`, `conflict` where it is another by now; StoreError
 */
export async function insertObject(
  node: OperationNode,
  { key, etag, columns }: Source & { columns: SourceColumn[] },
  insert: string,
  selected: string,
  params: Settings,
): Promise<void> {
  const object = objectFunction(node, key, exportFormats.parquet.clickhouse);
  const others = columns.filter(({ name, original }) => name !== original);
  const named = [
    others.length === 0 ? '*' : `* EXCEPT (${others.map(({ original }) => quoteName(original)).join(', ')})`,
    ...others.map(({ name, original }) => `${quoteName(original)} AS ${quoteName(name)}`),
    `${requireEtag} AS _changed`,
  ];
  const read = `SELECT *, rowNumberInAllBlocks() AS _place FROM (SELECT ${named.join(', ')} FROM ${object})`;
  const structure = columns.map(({ original, type }) => `${quoteName(original)} ${type}`).join(', ');
  const statement = `${insert} SELECT ${selected} FROM (${read}) WHERE _changed = 0`;
  await asked(node, key, 'parquet', statement, inserting({ ...params, param__columns: structure, param__etag: etag }));
}

/** Copies the lines of an object as they are into the staging table `name`. Throws the same. */
export async function insertLines(
  node: OperationNode,
  { key, etag, format, number }: Source & { format: ImportFormat; number: number },
  name: string,
  attempt: number,
): Promise<void> {
  const read = `SELECT line, rowNumberInAllBlocks() AS _place, ${requireEtag} AS _changed FROM ${objectFunction(node, key, 'LineAsString')}`;
  await asked(
    node,
    key,
    format,
    `INSERT INTO ${name} (_attempt, _object, _place, _text)
     SELECT {_attempt:UInt64}, {_object:UInt32}, _place, line FROM (${read}) WHERE _changed = 0`,
    inserting({
      param__attempt: attempt,
      param__object: number,
      param__columns: 'line String',
      param__etag: etag,
      // A line without an end is as long as the object.
      max_memory_usage: lineMemoryBytes_max,
    }),
  );
}

const requireEtag = `throwIf(_etag != {_etag:String}, 'changed')`;
const lineMemoryBytes_max = 3_000_000_000;

function inserting(params: Settings): Settings {
  return {
    ...settings,
    ...params,
    // One stream of blocks, in the order of the object; what is stored twice is told by the count.
    async_insert: 0,
    insert_deduplicate: 0,
    max_insert_threads: 1,
    max_query_size: 4_194_304,
  };
}

async function asked(
  node: OperationNode,
  key: string,
  format: ImportFormat,
  statement: string,
  given: Settings,
): Promise<string> {
  try {
    return await askLong(node, statement, given);
  } catch (error) {
    if (!(error instanceof ClickHouseError)) throw error;
    throw reasonOf(node, error, key, format);
  }
}

const codes = { thrown: 395, s3: 499 };

/** Codes of what is wrong with the bytes of an object. All others may pass, or are of the server. */
const dataErrors = new Set([
  // Broken off, unpacked badly, or not of the format at all.
  6, 23, 25, 26, 27, 32, 33, 34, 38, 41, 53, 69, 70, 72, 74, 117, 128, 130, 131, 142, 190, 210, 246, 271, 306, 321, 349,
  354, 407, 424, 432, 467, 556, 561, 563, 636, 650, 1001, 1002,
]);

function reasonOf(node: OperationNode, error: ClickHouseError, key: string, format: ImportFormat): Error {
  const { code, message } = error;
  if (code === codes.thrown) {
    return new ApiError('conflict', `Object ${key} was written again while it was read. It is read anew.`);
  }
  if (code === codes.s3) {
    if (/404|NoSuchKey|does not exist/i.test(message)) return unreadable(key, 'is not in the bucket');
    return new StoreError('s3', `does not give ClickHouse object ${key}`, error);
  }
  if (code === clickhouseCodes.timeoutExceeded || code === clickhouseCodes.tooSlow) {
    const minutes = Math.round(node.config.limits.export_timeout_ms / 60_000);
    return new ApiError(
      'limit-exceeded',
      `Object ${key} takes more than ${minutes} minutes to read; cut it into smaller ones.`,
    );
  }
  if (code === clickhouseCodes.memoryLimit && format !== 'parquet') {
    return unreadable(key, 'has a line that is too long to be read; lines end with LF or CR LF');
  }
  if (!dataErrors.has(code)) return error;
  const row = /\(at row (\d+)\)/.exec(message)?.[1];
  const where = row === undefined ? ': it is empty, cut off, damaged or of another format' : ` at row ${row}`;
  return unreadable(key, `cannot be read as ${format}${where} (ClickHouse’s error ${code})`);
}

export function unreadable(key: string, what: string): ApiError {
  return new ApiError('invalid-request', `Object ${key} ${what}.`);
}
