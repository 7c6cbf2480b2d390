import { stat } from 'node:fs/promises';
import { type Timestore, TimestoreError } from '../../client/index.ts';
import { tableName } from '../config.ts';
import { CliFailure, usage } from '../failure.ts';
import { size } from '../ingest/show-progress.ts';
import { detectKind, type Format, findSource } from '../ingest/source.ts';
import type { Io } from '../io.ts';
import { tablePath } from '../paths.ts';
import { DuckDbFile, loadDuckDb, withTemporaryFolder } from './duckdb.ts';
import { type Patience, retry } from './patiently.ts';
import { bytes_max, type Piece, type Progress, upload } from './upload.ts';

/** The format of files, and the selection of rows in DuckDB files. */
export type Selection = {
  format?: Format;
  duckdb?: boolean;
  fromTable?: string;
  sql?: string;
  columns?: string;
  field?: string[];
};

export type Field = { name: string; type: string };

/** A file to import or compare. */
export type LocalFile = {
  path: string;
  label: string;
  format: Format;
  /** Bytes of the upload; undefined where they are not known yet. */
  bytes: number | undefined;
  /** Identifies the version of the file. */
  mark: string;
  /** The extension of the object name. */
  extension: string;
  duckdb: { fromTable: string | undefined; sql: string | undefined } | undefined;
};

export const isNamedDuckDb = (path: string): boolean => /\.(duckdb|ddb|db)$/i.test(path);

/** Throws CliFailure for a missing file or an unknown format. */
export async function findFile(path: string, selection: Selection, io: Io): Promise<LocalFile> {
  const source = await findSource(path);
  if (source.bytes === undefined) {
    throw usage(
      `${path === '-' ? 'Standard input' : path} is not a file; use \`timestore ingest -\` for a stream of rows.`,
    );
  }
  const { mtimeMs } = await stat(source.path);
  const { format: requestedFormat, duckdb, fromTable, sql, columns, field } = selection;
  const file = { path: source.path, label: source.name };
  const isDuckDb = duckdb || fromTable !== undefined || sql !== undefined || isNamedDuckDb(path);
  const mark = JSON.stringify([
    source.path,
    source.bytes,
    mtimeMs,
    ...(isDuckDb ? [fromTable, sql, columns, field] : []),
  ]);
  if (isDuckDb) {
    return { ...file, mark, format: 'parquet', extension: 'parquet', bytes: undefined, duckdb: { fromTable, sql } };
  }
  if (source.bytes > bytes_max) {
    throw new CliFailure(
      `${path} has ${size(source.bytes)}. A file of more than ${size(bytes_max)} must be split into smaller ones.`,
    );
  }
  const { format, packing } = await detectKind(source, requestedFormat, io);
  const extension = packing === undefined ? format : `${format}.${packing}`;
  return { ...file, mark, format, bytes: source.bytes, extension, duckdb: undefined };
}

export type Uploaded = {
  /** Object keys in the bucket. */
  objects: string[];
  /** Columns with JSON, which Parquet stores as text. */
  jsonColumns: string[];
};

type Uploading = {
  timestore: Timestore;
  /** `dataset.table` */
  name: string;
  /** Field types from the command line. */
  fields: ReadonlyMap<string, string>;
  columns: string[] | undefined;
  progress: Progress;
  patience: Patience;
};

/** Uploads a file. Throws CliFailure, TimestoreError, AbortError. */
export async function uploadFile(file: LocalFile, uploading: Uploading): Promise<Uploaded> {
  const { label, path, bytes, extension } = file;
  if (file.duckdb !== undefined) return await uploadDuckDb(file, file.duckdb, uploading);
  const piece: Piece = { path, label, name: objectName(label, extension), bytes: bytes ?? 0 };
  return { objects: [await upload(piece, { ...uploading, ...tableName(uploading.name) })], jsonColumns: [] };
}

/** An object name with valid characters and the extension of the format. */
function objectName(label: string, extension: string): string {
  const stem = label.replace(/(\.(parquet|csv|ndjson|jsonl|duckdb|ddb|db))?(\.(gz|zst))?$/i, '');
  return `${stem.replaceAll(/[^A-Za-z0-9_.=-]/g, '_').slice(0, 150)}.${extension}`;
}

async function uploadDuckDb(
  { path: source, label }: LocalFile,
  { fromTable, sql }: NonNullable<LocalFile['duckdb']>,
  uploading: Uploading,
): Promise<Uploaded> {
  const { progress, patience } = uploading;
  const duckdb = loadDuckDb();
  progress.doing = `${label} as Parquet`;
  const types = new Map([...(await fetchFields(uploading)), ...uploading.fields]);
  return await withTemporaryFolder(async (folder) => {
    const database = await DuckDbFile.open(duckdb, source, label, patience.signal);
    let written: Awaited<ReturnType<typeof database.write>>;
    try {
      const select = sql?.replace(/[\s;]+$/, '') ?? (await database.fromClause(fromTable));
      written = await database.write(select, folder, { chosen: uploading.columns, types });
    } finally {
      database.close();
    }
    for (const { bytes } of written.files) progress.of += bytes;
    const objects: string[] = [];
    for (const { path, bytes } of written.files) {
      const piece: Piece = { path, label, name: objectName(label, 'parquet'), bytes };
      objects.push(await upload(piece, { ...uploading, ...tableName(uploading.name) }));
    }
    return { objects, jsonColumns: written.jsonColumns.filter((column) => !types.has(column)) };
  });
}

/** The fields of the table; none for a missing table. Throws TimestoreError. */
async function fetchFields({ timestore, name, patience }: Uploading): Promise<Map<string, string>> {
  type Found = { schema: { fields: Field[] } };
  const { signal } = patience;
  try {
    const { schema } = await retry(() => timestore.call<Found>('GET', tablePath(name), { signal }), patience);
    return new Map(schema.fields.map((field) => [field.name, field.type]));
  } catch (error) {
    if (error instanceof TimestoreError && error.code === 'not-found') return new Map();
    throw error;
  }
}
