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
import { type Patience, retryPatiently } from './patiently.ts';

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

const everyMs = 500;
/** Rows at fault that are told where nobody asked for all of them. */
const told = 10;

/** Reads an import until it is over, and shows how far it is. Throws TimestoreError. */
export async function follow(timestore: Timestore, begun: Import, options: PatientOptions, io: Io): Promise<Import> {
  let found = begun;
  let waits: string | undefined;
  const { signal } = io;
  const shown = options.quiet
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
      await delay(everyMs, undefined, { signal });
      found = await retryPatiently(() => timestore.call<Import>('GET', importPath(begun.id), { signal }), patience);
      shown?.changed();
    }
  } finally {
    shown?.end();
  }
  return found;
}

/** Reading is one half of it, moving the other: neither says how long the other takes. */
function renderLine({ objects, rows }: Import, isTerminal: boolean): string {
  const share = objects.read / Math.max(1, objects.of) / 2 + rows.moved / Math.max(1, rows.read) / 2;
  const moved = rows.moved > 0 ? `  ${whole(rows.moved)} moved` : '';
  return `${renderBar(share, isTerminal)}  ${objects.read} of ${objects.of} objects  ${rowCount(rows.read)} read${moved}`;
}

/**
 * Shows an import as it is.
 *
 * @param labels what objects are called here
 * @throws CliFailure for one that has failed
 */
export async function showImport(
  found: Import,
  options: CommonOptions & { all: boolean },
  labels: ReadonlyMap<string, string>,
  io: Io,
): Promise<void> {
  const { objects, rows, errors, wrongRows, ...rest } = found;
  const rowsAtFault = errors.map((each) => ({ ...each, object: labels.get(each.object) ?? each.object }));
  if (options.json) {
    await print(io.stdout, `${bodyText(found)}\n`);
  } else {
    const { createdAt, finishedAt, actor, ...what } = rest;
    const counts = {
      objects: `${objects.read} of ${objects.of} read`,
      rows: `${whole(rows.read)} read, ${whole(rows.moved)} moved`,
      ...(wrongRows > 0 && { wrongRows }),
    };
    await showOne({ ...what, ...counts, actor, createdAt, finishedAt }, {}, io);
    if (options.all && errors.length > 0) {
      const columns = ['object', 'row', 'field', 'reason', 'value'].map((name) => ({ name, isNumber: name === 'row' }));
      await showTable(columns, rowsAtFault, io);
    }
  }
  if (found.state !== 'failed') return;
  if (wrongRows === 0) {
    throw new CliFailure(`The import has failed: ${found.error} \`timestore jobs retry ${found.id}\` tries it again.`);
  }
  const lines = rowsAtFault.slice(0, options.all ? 0 : told).map(({ object, row, field, reason, value }) => {
    return `  ${object}, row ${row}: ${field}, ${reason}: ${cellText(value)}\n`;
  });
  const more = wrongRows > lines.length && !options.all ? `  \`timestore imports show ${found.id}\` has more\n` : '';
  throw new CliFailure(
    `${rowCount(wrongRows)} cannot be stored, and nothing was imported. Rows are counted from 0.` +
      `\n${lines.join('')}${more}`.trimEnd(),
  );
}
