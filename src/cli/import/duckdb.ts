import { rmSync } from 'node:fs';
import { mkdtemp, open, readdir, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { CliFailure, exitCodes, usage } from '../failure.ts';

type DuckDb = typeof import('@duckdb/node-api');

const packageName = '@duckdb/node-api';

/**
 * Loads DuckDB, an optional native package, from one of the folders or their parents.
 *
 * @throws CliFailure where it is not installed or cannot be loaded
 */
export function loadDuckDb(folders = [import.meta.dirname, process.cwd()]): DuckDb {
  for (const folder of folders) {
    const require = createRequire(join(folder, 'here.js'));
    let path: string;
    try {
      path = require.resolve(packageName);
    } catch {
      continue;
    }
    try {
      return require(path) as DuckDb;
    } catch (error) {
      throw new CliFailure(`${path} cannot be loaded: ${errorMessage(error)}`, exitCodes.usage, error);
    }
  }
  throw usage(`DuckDB is not installed: \`npm install --global ${packageName}\`.`);
}

/** A column of the Parquet file, and its field type where Parquet does not contain it. */
type Column = { name: string; type: string; expression: string; fieldType: 'json' | undefined };

export type Written = {
  /** Parquet files of limited size, which ClickHouse reads in a short time. */
  files: { path: string; bytes: number }[];
  /** Columns that hold JSON as text. */
  jsonColumns: string[];
};

const file_bytes_max = 256_000_000;

/** A DuckDB file, opened read-only. */
export class DuckDbFile {
  readonly #label: string;
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  readonly #signal: AbortSignal;

  private constructor(label: string, instance: DuckDBInstance, connection: DuckDBConnection, signal: AbortSignal) {
    this.#label = label;
    this.#instance = instance;
    this.#connection = connection;
    this.#signal = signal;
  }

  /** Throws CliFailure for another format or a locked file. */
  static async open(duckdb: DuckDb, path: string, label: string, signal: AbortSignal): Promise<DuckDbFile> {
    if (!(await isDuckDb(path))) throw new CliFailure(`${label} is not a DuckDB database.`);
    try {
      const options = { access_mode: 'READ_ONLY', autoinstall_known_extensions: 'false' };
      const instance = await duckdb.DuckDBInstance.create(path, options);
      const connection = await instance.connect();
      // Times without a zone are UTC, whatever the zone of this machine.
      await connection.run(`SET TimeZone = 'UTC'`);
      return new DuckDbFile(label, instance, connection, signal);
    } catch (error) {
      throw notOpened(label, errorMessage(error));
    }
  }

  close(): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }

  /** The FROM clause of a table or view. Throws CliFailure for a missing name or table. */
  async fromClause(requested: string | undefined): Promise<string> {
    const tables = await this.#rows<{ schema: string; name: string }>(
      `SELECT schema_name AS schema, table_name AS name FROM duckdb_tables() WHERE NOT internal AND NOT temporary
       UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal AND NOT temporary ORDER BY ALL`,
    );
    const qualifiedName = ({ schema, name }: (typeof tables)[number]) =>
      schema === 'main' ? name : `${schema}.${name}`;
    const expected = requested?.replace(/^main\./, '');
    const found =
      tables.find((table) => qualifiedName(table) === expected) ??
      tables.find((table) => qualifiedName(table).toLowerCase() === expected?.toLowerCase());
    if (found !== undefined) return `FROM ${quoted(found.schema)}.${quoted(found.name)}`;
    const available = tables.length === 0 ? 'It has no tables.' : `It has ${tables.map(qualifiedName).join(', ')}.`;
    const problem =
      requested === undefined
        ? `No table of ${this.#label} is selected: use --from-table NAME, or --sql 'SELECT …'.`
        : `Table ${requested} not found in ${this.#label}.`;
    throw usage(`${problem} ${available}`);
  }

  /**
   * Writes rows as Parquet without loss: values that Parquet would change are written as text.
   *
   * @param select a statement
   * @param chosen columns; all where undefined
   * @param types known field types, of the table or the command line
   * @throws CliFailure for a failing statement, a missing column, and integers beyond 64 bits
   */
  async write(
    select: string,
    folder: string,
    { chosen, types }: { chosen: string[] | undefined; types: ReadonlyMap<string, string> },
  ): Promise<Written> {
    const all = await this.#rows<{ column_name: string; column_type: string }>(`DESCRIBE (${select}\n)`);
    const missing = chosen?.find((name) => !all.some((column) => column.column_name === name));
    if (missing !== undefined) {
      throw usage(`${this.#label} has no column ${missing}. It has ${all.map((each) => each.column_name).join(', ')}.`);
    }
    const columns = all
      .filter(({ column_name }) => chosen === undefined || chosen.includes(column_name))
      .map((each) => planColumn(each.column_name, each.column_type, types.get(each.column_name)));
    const list = columns.map(({ name, expression }) => `${expression} AS ${quoted(name)}`).join(', ');
    const at = (name: string) => `'${join(folder, name).replaceAll("'", "''")}'`;
    // The default is a folder beside the file of the user.
    await this.#rows(`SET temp_directory = ${at('spilled')}`);
    try {
      await this.#rows(
        `COPY (SELECT ${list} FROM (${select}\n)) TO ${at('rows')} (FORMAT parquet, COMPRESSION zstd, FILE_SIZE_BYTES ${file_bytes_max})`,
      );
    } catch (error) {
      throw (await this.#tooLarge(select, columns)) ?? error;
    }
    const names = (await readdir(join(folder, 'rows'))).sort();
    const files = names.map(async (name) => {
      const path = join(folder, 'rows', name);
      return { path, bytes: (await stat(path)).size };
    });
    const jsonColumns = columns.filter(({ fieldType }) => fieldType === 'json').map(({ name }) => name);
    return { files: await Promise.all(files), jsonColumns };
  }

  /** The failure for an integer beyond 64 bits, if one has caused the error. */
  async #tooLarge(select: string, columns: Column[]): Promise<CliFailure | undefined> {
    for (const { name, type } of columns.filter((column) => isHuge(column.type))) {
      const x = quoted(name);
      const [row] = await this.#rows<{ value: string }>(
        `SELECT ${x}::VARCHAR AS value FROM (${select}\n) WHERE ${x} IS NOT NULL AND TRY_CAST(${x} AS BIGINT) IS NULL LIMIT 1`,
      );
      if (row === undefined) continue;
      return new CliFailure(
        `Column ${name} of ${this.#label} is ${type}, and ${row.value} does not fit the 64 bits of an integer. ` +
          `--field ${name}:string imports it as text.`,
      );
    }
    return undefined;
  }

  async #rows<Row>(sql: string): Promise<Row[]> {
    this.#signal.throwIfAborted();
    const interrupt = () => this.#connection.interrupt();
    this.#signal.addEventListener('abort', interrupt, { once: true });
    try {
      return (await this.#connection.runAndReadAll(sql)).getRowObjectsJson() as Row[];
    } catch (error) {
      this.#signal.throwIfAborted();
      throw new CliFailure(`${this.#label}: ${errorMessage(error)}`, exitCodes.failed, error);
    } finally {
      this.#signal.removeEventListener('abort', interrupt);
    }
  }
}

const isHuge = (type: string) => type === 'HUGEINT' || type === 'UHUGEINT';

/** Types that Parquet and ClickHouse represent without change. */
const unchangedTypes =
  /^(VARCHAR|BOOLEAN|U?(TINY|SMALL|BIG)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\)|DATE|TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE|BLOB|VARCHAR\[\])$/;

/** How a column is written. `known` is the type of its field, if known. */
function planColumn(name: string, type: string, known: string | undefined): Column {
  const x = quoted(name);
  const isVector = known?.startsWith('vector') === true && /^(FLOAT|DOUBLE)\[\d*\]$/.test(type);
  if (unchangedTypes.test(type) || isVector) return { name, type, expression: x, fieldType: undefined };
  // DuckDB would write 128-bit integers as doubles.
  if (isHuge(type) && known !== 'string')
    return { name, type, expression: `CAST(${x} AS BIGINT)`, fieldType: undefined };
  // ClickHouse would read null lists and structs as empty ones or as ones of nulls.
  const isNested = /\[\d*\]$|^(STRUCT|MAP|UNION)\b|^VARIANT$/.test(type);
  const expression = isNested ? `CAST(to_json(${x}) AS VARCHAR)` : `CAST(${x} AS VARCHAR)`;
  return { name, type, expression, fieldType: isNested || type === 'JSON' ? 'json' : undefined };
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** The first line: the others quote a generated statement. */
const errorMessage = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0]?.trim() ?? '';

/** Checks the file header: DuckDB opens CSV files as databases too. */
async function isDuckDb(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 8);
    return buffer.toString('latin1') === 'DUCK';
  } finally {
    await file.close();
  }
}

function notOpened(label: string, message: string): CliFailure {
  if (/Could not set lock|Conflicting lock|being used by another process/i.test(message)) {
    const pid = /\(PID \d+\)/.exec(message)?.[0];
    return new CliFailure(
      `${label} is open in another program${pid === undefined ? '' : ` ${pid}`}, which may write to it. Close it, or use a copy.`,
      exitCodes.later,
    );
  }
  return new CliFailure(`${label} cannot be opened: ${message}`);
}

/** Runs `work` with a temporary folder, which is deleted afterwards. */
export async function withTemporaryFolder<Result>(work: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'timestore-import-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  // A second Ctrl-C ends the process at once.
  process.once('exit', remove);
  try {
    return await work(folder);
  } finally {
    process.off('exit', remove);
    await rm(folder, { recursive: true, force: true });
  }
}
