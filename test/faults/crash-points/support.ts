import { expect } from 'vitest';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { StoreError } from '../../../src/core/errors.ts';
import type { Context } from '../../../src/create-context.ts';
import {
  at,
  expectStored,
  flush,
  type Instance,
  newDataset,
  newInstance,
  query,
  type Row,
  send,
  tableOf,
} from '../../integration/support.ts';
import { type Fault, faultKinds, type Injected, inject } from '../injection.ts';

// Keys of each file's own: no other test flushes its lanes or drains its outbox.
export const prefix = { TIMESTORE_KEY_PREFIX: `crash-${process.pid}` };
export const ctx = newInstance(prefix);

/** Runs work in a new instance with a fault. Resolves when the work has ended, has failed at a store, or has died. */
export async function withFault(
  fault: Fault | undefined,
  work: (instance: Context) => Promise<unknown>,
  overrides: Record<string, string> = prefix,
): Promise<Injected<Instance>> {
  const instance = inject(newInstance(overrides), fault);
  const ended = work(instance).then(
    () => undefined,
    (error) => {
      if (!(error instanceof StoreError)) throw error;
    },
  );
  await Promise.race([ended, instance.died]);
  return instance;
}

function inOrder(rows: object[]): string[] {
  return rows.map((row) => JSON.stringify(Object.entries(row).filter(([, value]) => value !== null))).sort();
}

/** Expects every acknowledged row once in the answer of a new instance. */
export async function expectAnswered(dataset: string, rows: object[]): Promise<void> {
  const answer = await query(newInstance(prefix), dataset);
  expect(inOrder(answer.rows as Row[])).toEqual(inOrder(rows));
  expect(answer.streaming.fresh).toBe(true);
}

export async function expectFlushed(dataset: string, rows: number): Promise<void> {
  // A new instance: an older one may know fewer lanes.
  const table = await tableOf(newInstance(prefix), dataset);
  // As if the lease of a dead flusher had expired.
  await ctx.redis.del(...[0, 1, 2].map((lane) => ctx.keys.lease(table, lane)));
  expect(await flush(newInstance(prefix), dataset)).toMatchObject({ complete: true });
  await expectStored(ctx, table, rows);
  const snapshot = await snapshotTable(ctx, table, 'state');
  if (snapshot === 'unknown') throw new Error('the lane is unknown');
  for (const lane of snapshot.lanes) {
    expect(lane).toMatchObject({ watermark: lane.seq, pendingRows: 0, sealedTo: undefined, oldest_ms: undefined });
  }
}

/** Every call with every kind of fault. */
export const allPoints = (calls: string[]) =>
  calls.flatMap((name, call) => faultKinds.map((kind) => ({ name: `${call} ${name} ${kind}`, fault: { call, kind } })));

/** How many kinds of fault a call meets; all of them in `npm run test:soak -- points`. */
const kinds = process.env.FAULT_POINTS === 'all' ? faultKinds.length : Number(process.env.FAULT_POINTS ?? 1);

export const isWhole = kinds === faultKinds.length;

/** Every call with some kinds of fault, others for the next one; in the short form every third call. */
export const points = (calls: string[]) =>
  allPoints(calls).filter(({ fault: { call, kind } }) => {
    if (process.env.FAULT_POINTS === undefined && call % 3 !== 0) return false;
    const turn = (faultKinds.indexOf(kind) + faultKinds.length - (call % faultKinds.length)) % faultKinds.length;
    return (turn * 2) % faultKinds.length < kinds;
  });

/** One batch with rows in two partitions, and one with a further field. */
export const firstBatch = [
  { timestamp: at(1), v: 1 },
  { timestamp: at(1, 2), v: 2 },
];
export const secondBatch = [{ timestamp: at(2), v: 3, extra: 'x' }];

/** A dataset with one row. */
export async function known(instance: Context = ctx): Promise<string> {
  const dataset = newDataset();
  await send(instance, dataset, [{ timestamp: at(0), v: 0 }]);
  return dataset;
}
