import { stat } from 'node:fs/promises';
import { type Timestore, TimestoreError } from '../../client/index.ts';
import { tableName } from '../config.ts';
import { CliFailure, usage } from '../failure.ts';
import { size } from '../ingest/show-progress.ts';
import { detectKind, type Format, findSource } from '../ingest/source.ts';
import type { Io } from '../io.ts';
import { tablePath } from '../paths.ts';
import { DuckDbFile, loadDuckDb, withTemporaryFolder } from './duckdb.ts';
import { type Patience, retryPatiently } from './patiently.ts';
import { bytes_max, type Piece, type Progress, upload } from './upload.ts';

/** What files are, and what is read of those of DuckDB. */
export type Selection = {
  format?: Format;
  duckdb?: boolean;
  fromTable?: string;
  sql?: string;
  columns?: string;
  field?: string[];
};

export type Field = { name: string; type: string };

/** A file that is to be imported, or compared. */
export type LocalFile = {
  path: string;
  label: string;
  format: Format;
  /** As it goes into the bucket; undefined where that is not known yet. */
  bytes: number | undefined;
  /** Another one after each change. */
  mark: string;
  /** What the object's name ends in, for one that goes there as it is. */
  extension: string;
  duckdb: { fromTable: string | undefined; sql: string | undefined } | undefined;
};

export const isNamedDuckDb = (path: string): boolean => /\.(duckdb|ddb|db)$/i.test(path);

/** Throws CliFailure for what is not there, or cannot be told. */
export async function findFile(path: string, selection: Selection, io: Io): Promise<LocalFile> {
  const source = await findSource(path);
  if (source.bytes === undefined) {
    throw usage(
      `${path === '-' ? 'Standard input' : path} is no file: it is \`timestore ingest -\` that takes rows as they come.`,
    );
  }
  const { mtimeMs } = await stat(source.path);
  const { format: asked, duckdb, fromTable, sql, columns, field } = selection;
  const what = { path: source.path, label: source.name };
  const isDuckDb = duckdb || fromTable !== undefined || sql !== undefined || isNamedDuckDb(path);
  const mark = JSON.stringify([
    source.path,
    source.bytes,
    mtimeMs,
    ...(isDuckDb ? [fromTable, sql, columns, field] : []),
  ]);
  if (isDuckDb) {
    return { ...what, mark, format: 'parquet', extension: 'parquet', bytes: undefined, duckdb: { fromTable, sql } };
  }
  if (source.bytes > bytes_max) {
    throw new CliFailure(
      `${path} has ${size(source.bytes)}. A file of more than ${size(bytes_max)} has to be cut into smaller ones.`,
    );
  }
  const { format, packing } = await detectKind(source, asked, io);
  const extension = packing === undefined ? format : `${format}.${packing}`;
  return { ...what, mark, format, bytes: source.bytes, extension, duckdb: undefined };
}

export type Uploaded = {
  /** Their names in the bucket. */
  objects: string[];
  /** Columns that hold JSON, which does not show in them. */
  jsonColumns: string[];
};

type Uploading = {
  timestore: Timestore;
  /** `dataset.table` */
  name: string;
  /** Types of fields that were said. */
  fields: ReadonlyMap<string, string>;
  columns: string[] | undefined;
  progress: Progress;
  patience: Patience;
};

/** Has a file in the bucket. Throws CliFailure, TimestoreError; an AbortError when it is to end. */
export async function uploadFile(file: LocalFile, uploading: Uploading): Promise<Uploaded> {
  const { label, path, bytes, extension } = file;
  if (file.duckdb !== undefined) return await uploadDuckDb(file, file.duckdb, uploading);
  const piece: Piece = { path, label, name: objectName(label, extension), bytes: bytes ?? 0 };
  return { objects: [await upload(piece, { ...uploading, ...tableName(uploading.name) })], jsonColumns: [] };
}

/** Characters that it can have, and an end that says what it is. */
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
      const select = sql?.replace(/[\s;]+$/, '') ?? (await database.selectionOf(fromTable));
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

/** Those of the table, if it is there. Throws TimestoreError. */
async function fetchFields({ timestore, name, patience }: Uploading): Promise<Map<string, string>> {
  type Found = { schema: { fields: Field[] } };
  const { signal } = patience;
  try {
    const { schema } = await retryPatiently(() => timestore.call<Found>('GET', tablePath(name), { signal }), patience);
    return new Map(schema.fields.map((field) => [field.name, field.type]));
  } catch (error) {
    if (error instanceof TimestoreError && error.code === 'not-found') return new Map();
    throw error;
  }
}
