import type { Timestore } from '../../client/index.ts';
import { showStatus } from '../ingest/show-progress.ts';
import type { Io } from '../io.ts';
import type { PatientOptions } from '../options.ts';
import { type Field, type LocalFile, uploadFile } from './local-file.ts';
import type { Patience } from './patiently.ts';
import type { ImportRecord } from './record.ts';
import { type Progress, uploadLine } from './upload.ts';

/** The target of uploads. */
type Purpose = {
  timestore: Timestore;
  /** `dataset.table` */
  name: string;
  options: PatientOptions;
  /** Types of fields from the command line. */
  fields?: Field[] | undefined;
  /** Columns of a DuckDB file; default: all. */
  columns?: string[] | undefined;
  /** Recorded uploads, which are not repeated. */
  record?: ImportRecord | undefined;
};

type InBucket = {
  objects: string[];
  /** Fields from the command line, and those whose type the objects do not contain. */
  fields: Field[];
  /** The local names of the objects. */
  labels: Map<string, string>;
};

/** Uploads files one after the other. Throws CliFailure, TimestoreError, AbortError. */
export async function uploadFiles(files: LocalFile[], purpose: Purpose, io: Io): Promise<InBucket> {
  const { timestore, name, options, fields = [], columns, record } = purpose;
  const objects: string[] = [];
  const labels = new Map<string, string>();
  if (files.length === 0) return { objects, fields, labels };
  const of = files.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
  const progress: Progress = { sent: 0, of, doing: '', waits: undefined };
  const status = options.quiet ? undefined : showStatus(io, (...args) => uploadLine(progress, ...args));
  const patience: Patience = {
    patienceMs: options.patience,
    signal: io.signal,
    onWait: (why) => {
      progress.waits = why;
    },
  };
  const types = new Map(fields.map((field) => [field.name, field.type]));
  try {
    for (const file of files) {
      const before = record?.uploaded(file.mark);
      const done = before ?? (await uploadFile(file, { timestore, name, fields: types, columns, progress, patience }));
      if (before === undefined) await record?.addUpload(file.mark, done);
      else progress.sent += file.bytes ?? 0;
      for (const column of done.jsonColumns) types.set(column, 'json');
      for (const key of done.objects) labels.set(key, file.label);
      objects.push(...done.objects);
    }
  } finally {
    status?.end();
  }
  return { objects, fields: [...types].map(([field, type]) => ({ name: field, type })), labels };
}
