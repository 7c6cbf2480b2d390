import { setTimeout as delay } from 'node:timers/promises';
import type { Timestore } from '../../client/index.ts';
import { bodyText } from '../../client/write.ts';
import type { CommonOptions } from '../config.ts';
import { CliFailure } from '../failure.ts';
import { renderBar, rowCount, showStatus, whole, withWait } from '../ingest/show-progress.ts';
import { type Io, print } from '../io.ts';
import type { PatientOptions } from '../options.ts';
import { type Item, showOne, showTable } from '../show.ts';
import { cellText } from '../table-text.ts';
import { type Patience, retry } from './patiently.ts';

/** A row that cannot be stored; rows are counted from 0. */
type WrongRow = { object: string; row: number; field: string; reason: string; value: string };

export type Import = Item & {
  id: string;
  state: string;
  objects: { of: number; read: number };
  rows: { read: number; moved: number };
  error: string | null;
  wrongRows: number;
  errors: WrongRow[];
};

export const importPath = (id: string): string => `/v1/admin/imports/${encodeURIComponent(id)}`;

const poll_ms = 500;
/** Invalid rows that are listed without `all`. */
const listedRows_max = 10;

/** Polls an import until it ends, and shows its progress. Throws TimestoreError. */
export async function follow(timestore: Timestore, begun: Import, options: PatientOptions, io: Io): Promise<Import> {
  let found = begun;
  let waits: string | undefined;
  const { signal } = io;
  const status = options.quiet
    ? undefined
    : showStatus(io, (_, isTerminal) =>
        withWait(renderLine(found, isTerminal), waits ?? found.error ?? undefined, isTerminal),
      );
  const patience: Patience = {
    patienceMs: options.patience,
    signal,
    onWait: (why) => {
      waits = why;
    },
  };
  try {
    while (found.state === 'queued' || found.state === 'running') {
      await delay(poll_ms, undefined, { signal });
      found = await retry(() => timestore.call<Import>('GET', importPath(begun.id), { signal }), patience);
      status?.changed();
    }
  } finally {
    status?.end();
  }
  return found;
}

/** Reading and moving each count as one half of the progress. */
function renderLine({ objects, rows }: Import, isTerminal: boolean): string {
  const share = objects.read / Math.max(1, objects.of) / 2 + rows.moved / Math.max(1, rows.read) / 2;
  const moved = rows.moved > 0 ? `  ${whole(rows.moved)} moved` : '';
  return `${renderBar(share, isTerminal)}  ${objects.read} of ${objects.of} objects  ${rowCount(rows.read)} read${moved}`;
}

/**
 * Shows an import.
 *
 * @param labels local names of the objects
 * @throws CliFailure for a failed import
 */
export async function showImport(
  found: Import,
  options: CommonOptions & { all: boolean },
  labels: ReadonlyMap<string, string>,
  io: Io,
): Promise<void> {
  const { objects, rows, errors, wrongRows, ...rest } = found;
  const invalidRows = errors.map((each) => ({ ...each, object: labels.get(each.object) ?? each.object }));
  if (options.json) {
    await print(io.stdout, `${bodyText(found)}\n`);
  } else {
    const { createdAt, finishedAt, actor, ...members } = rest;
    const counts = {
      objects: `${objects.read} of ${objects.of} read`,
      rows: `${whole(rows.read)} read, ${whole(rows.moved)} moved`,
      ...(wrongRows > 0 && { wrongRows }),
    };
    await showOne({ ...members, ...counts, actor, createdAt, finishedAt }, {}, io);
    if (options.all && errors.length > 0) {
      const columns = ['object', 'row', 'field', 'reason', 'value'].map((name) => ({ name, isNumber: name === 'row' }));
      await showTable(columns, invalidRows, io);
    }
  }
  if (found.state !== 'failed') return;
  if (wrongRows === 0) {
    throw new CliFailure(`The import failed: ${found.error} \`timestore jobs retry ${found.id}\` repeats it.`);
  }
  const lines = invalidRows.slice(0, options.all ? 0 : listedRows_max).map(({ object, row, field, reason, value }) => {
    return `  ${object}, row ${row}: ${field}, ${reason}: ${cellText(value)}\n`;
  });
  const more = wrongRows > lines.length && !options.all ? `  \`timestore imports show ${found.id}\` lists all\n` : '';
  throw new CliFailure(
    `${rowCount(wrongRows)} cannot be stored; nothing was imported. Row numbers start at 0.` +
      `\n${lines.join('')}${more}`.trimEnd(),
  );
}
