import { askLong, objectFunction } from '../../catalog/object-table.ts';
import { ApiError, StoreError } from '../../core/errors.ts';
import { quoteName } from '../../core/identifiers.ts';
import { missingName, type Rename, renamed } from '../../schema/rename.ts';
import { ClickHouseError, clickhouseCodes, type Settings } from '../../stores/clickhouse/client.ts';
import type { OperationNode } from '../deps.ts';
import { type ExportFormat, exportFormats } from '../export/day.ts';
import type { SourceColumn } from './columns.ts';
import { readFooter } from './parquet-footer.ts';
import { readType, replaceLeaves, unwrapType } from './source-type.ts';

/** Formats of objects to import: those of exports. */
export type ImportFormat = ExportFormat;

const settings: Settings = {
  session_timezone: 'UTC',
  precise_float_parsing: 1,
  max_threads: 1,
  // The caches could return data of an earlier object with the same name.
  schema_inference_use_cache_for_s3: 0,
  use_cache_for_count_from_files: 0,
  // The columns are known before; those that are not needed are skipped.
  input_format_null_as_default: 0,
  input_format_skip_unknown_fields: 1,
  // JSON stays text.
  input_format_parquet_enable_json_parsing: 0,
  output_format_json_escape_forward_slashes: 0,
  // Rows keep the order of the object.
  input_format_parquet_preserve_order: 1,
  max_parsing_threads: 1,
};

/**
 * The columns of a Parquet object, in their order.
 *
 * @throws TimestoreError `invalid-request` for an object that is missing or not readable as Parquet; StoreError
 */
export async function readColumns(
  node: OperationNode,
  source: Source & { bytes: number; rename: Rename | undefined },
): Promise<SourceColumn[]> {
  const { key, rename } = source;
  const object = objectFunction(node, key, exportFormats.parquet.clickhouse);
  const statement = `DESCRIBE TABLE ${object} FORMAT JSONEachRow`;
  const params = { ...settings, print_pretty_type_names: 0, param__columns: 'auto' };
  const text = await runOnObject(node, key, 'parquet', statement, params);
  const lines = text.split('\n').filter((line) => line !== '');
  const described = lines.map((line) => JSON.parse(line) as { name: string; type: string });
  if (described.length === 0) throw unreadable(key, 'has no rows');
  const missing = missingName(
    rename,
    described.map(({ name }) => name),
  );
  if (missing !== undefined) throw unreadable(key, `has no column ${missing}, which is to be renamed`);
  const names = new Set<string>();
  const all = described.map(({ name, type }) => ({ name: renamed(rename, name), original: name, type }));
  const twice = all.find(({ name }) => names.has(name) || !names.add(name));
  if (twice !== undefined) throw unreadable(key, `names the column ${twice.name} twice`);
  const nodes = await readFooter(node, source);
  return all.map((column) => ({ ...column, type: readDatesAsNumbers(column.type), node: nodes.get(column.original) }));
}

/** Replaces Date32 by Int32: ClickHouse's type fails for days before 1900 and after 2299. */
function readDatesAsNumbers(type: string): string {
  return replaceLeaves(readType(type), (leaf) => (unwrapType(leaf).name === 'Date32' ? 'Int32' : leaf.text));
}

/** An object, and the etag that it must keep while it is read. */
type Source = { key: string; etag: string };

/**
 * Inserts the rows of a Parquet object.
 *
 * @param insert the beginning of the INSERT statement, up to the names of the columns
 * @param selected SQL expressions over the object's columns; `_place` is the row's place in the object, from 0
 * @throws TimestoreError `invalid-request`; `conflict` for an object that has changed; StoreError
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
  await runOnObject(
    node,
    key,
    'parquet',
    statement,
    insertSettings({ ...params, param__columns: structure, param__etag: etag }),
  );
}

/** Copies the lines of an object unchanged into the staging table `name`. Throws the errors of `insertObject`. */
export async function insertLines(
  node: OperationNode,
  { key, etag, format, number }: Source & { format: ImportFormat; number: number },
  name: string,
  attempt: number,
): Promise<void> {
  const read = `SELECT line, rowNumberInAllBlocks() AS _place, ${requireEtag} AS _changed FROM ${objectFunction(node, key, 'LineAsString')}`;
  await runOnObject(
    node,
    key,
    format,
    `INSERT INTO ${name} (_attempt, _object, _place, _text)
     SELECT {_attempt:UInt64}, {_object:UInt32}, _place, line FROM (${read}) WHERE _changed = 0`,
    insertSettings({
      param__attempt: attempt,
      param__object: number,
      param__columns: 'line String',
      param__etag: etag,
      // Without line ends, a line is as long as the object.
      max_memory_usage: lineMemoryBytes_max,
    }),
  );
}

const requireEtag = `throwIf(_etag != {_etag:String}, 'changed')`;
const lineMemoryBytes_max = 3_000_000_000;

function insertSettings(params: Settings): Settings {
  return {
    ...settings,
    ...params,
    // One stream of blocks in the order of the object. The row count detects duplicates.
    async_insert: 0,
    insert_deduplicate: 0,
    max_insert_threads: 1,
    max_query_size: 4_194_304,
  };
}

async function runOnObject(
  node: OperationNode,
  key: string,
  format: ImportFormat,
  statement: string,
  params: Settings,
): Promise<string> {
  try {
    return await askLong(node, statement, params);
  } catch (error) {
    if (!(error instanceof ClickHouseError)) throw error;
    throw translateError(node, error, key, format);
  }
}

const codes = { thrown: 395, s3: 499 };

/** Error codes for invalid bytes of an object. Other errors are temporary or belong to the server. */
const dataErrors = new Set([
  // Truncated data, invalid compression, or another format.
  6, 23, 25, 26, 27, 32, 33, 34, 38, 41, 53, 69, 70, 72, 74, 117, 128, 130, 131, 142, 190, 210, 246, 271, 306, 321, 349,
  354, 407, 424, 432, 467, 556, 561, 563, 636, 650, 1001, 1002,
]);

function translateError(node: OperationNode, error: ClickHouseError, key: string, format: ImportFormat): Error {
  const { code, message } = error;
  if (code === codes.thrown) {
    return new ApiError('conflict', `Object ${key} was written again while it was read. The import reads it again.`);
  }
  if (code === codes.s3) {
    if (/404|NoSuchKey|does not exist/i.test(message)) return unreadable(key, 'is not in the bucket');
    return new StoreError('s3', `did not deliver object ${key} to ClickHouse`, error);
  }
  if (code === clickhouseCodes.timeoutExceeded || code === clickhouseCodes.tooSlow) {
    const minutes = Math.round(node.config.limits.export_timeout_ms / 60_000);
    return new ApiError(
      'limit-exceeded',
      `Object ${key} takes more than ${minutes} minutes to read; split it into smaller objects.`,
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

export function unreadable(key: string, problem: string): ApiError {
  return new ApiError('invalid-request', `Object ${key} ${problem}.`);
}
