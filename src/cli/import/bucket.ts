import type { Timestore } from '../../client/index.ts';
import { showStatus } from '../ingest/show-progress.ts';
import type { Io } from '../io.ts';
import type { PatientOptions } from '../options.ts';
import { type Field, type LocalFile, uploadFile } from './local-file.ts';
import type { Patience } from './patiently.ts';
import type { ImportRecord } from './record.ts';
import { type Progress, uploadLine } from './upload.ts';

/** What files go into the bucket for. */
type Purpose = {
  timestore: Timestore;
  /** `dataset.table` */
  name: string;
  options: PatientOptions;
  /** Types of fields that were said. */
  fields?: Field[] | undefined;
  /** Those that are read of a DuckDB file; all by default. */
  columns?: string[] | undefined;
  /** Of what is in the bucket already: that is not sent again. */
  record?: ImportRecord | undefined;
};

type InBucket = {
  objects: string[];
  /** Those that were said, and those whose type does not show in the objects. */
  fields: Field[];
  /** What objects are called here. */
  labels: Map<string, string>;
};

/** Has files in the bucket, one after the other. Throws CliFailure, TimestoreError; an AbortError when it is to end. */
export async function intoBucket(files: LocalFile[], purpose: Purpose, io: Io): Promise<InBucket> {
  const { timestore, name, options, fields = [], columns, record } = purpose;
  const objects: string[] = [];
  const labels = new Map<string, string>();
  if (files.length === 0) return { objects, fields, labels };
  const of = files.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
  const progress: Progress = { sent: 0, of, doing: '', waits: undefined };
  const shown = options.quiet ? undefined : showStatus(io, (...args) => uploadLine(progress, ...args));
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
    shown?.end();
  }
  return { objects, fields: [...types].map(([field, type]) => ({ name: field, type })), labels };
}
