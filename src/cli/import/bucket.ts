import type { Timestore } from '../../client/index.ts';
import { showStatus } from '../ingest/show-progress.ts';
import type { Io } from '../io.ts';
import { type LocalFile, uploadFile } from './local-file.ts';
import type { Patience } from './patiently.ts';
import { type Progress, uploadLine } from './upload.ts';

/** Objects of the bucket, and types of fields that do not show in them. */
export type InBucket = { objects: string[]; fields: { name: string; type: string }[] };

/** Has files in the bucket, for what follows at once. Throws CliFailure, TimestoreError; an AbortError when it is to end. */
export async function intoBucket(
  files: LocalFile[],
  name: string,
  timestore: Timestore,
  { patience, quiet }: { patience: number; quiet?: boolean | undefined },
  io: Io,
): Promise<InBucket> {
  const progress: Progress = { sent: 0, of: 0, doing: '', waits: undefined };
  for (const file of files) progress.of += file.bytes ?? 0;
  const shown = quiet ? undefined : showStatus(io, (...args) => uploadLine(progress, ...args));
  const waiting: Patience = {
    ...{ patienceMs: patience, signal: io.signal },
    onWait: (why) => {
      progress.waits = why;
    },
  };
  const objects: string[] = [];
  const fields = new Map<string, string>();
  try {
    for (const file of files) {
      const done = await uploadFile(file, { timestore, name, fields, columns: undefined, progress, patience: waiting });
      for (const column of done.jsonColumns) fields.set(column, 'json');
      objects.push(...done.objects);
    }
  } finally {
    shown?.end();
  }
  return { objects, fields: [...fields].map(([field, type]) => ({ name: field, type })) };
}
