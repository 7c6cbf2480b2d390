import { setTimeout as delay } from 'node:timers/promises';
import { TimestoreError } from '../src/client/index.ts';
import type { Api, Readiness } from './api.ts';
import { reasonOf } from './failure.ts';
import { collectMachine, type MetricRow } from './machine-metrics.ts';

type Batch = { rows: MetricRow[]; key: string };

export type Collector = {
  /** Rows acknowledged, rows waiting to be sent again, and rows discarded. */
  readonly counts: { sent: number; waiting: number; lost: number };
  /** Collects once and sends the rows, after earlier batches that still wait. Resolves with the rows collected. */
  tick(): Promise<MetricRow[]>;
  /** Collects until the signal aborts. Never rejects. */
  run(everySeconds: number, signal: AbortSignal): Promise<void>;
};

/** One batch a tick: at the default interval this covers one hour in which Timestore does not answer. */
const batches_max = 720;

export function createCollector(api: Api, print: (line: string) => void): Collector {
  const backlog: Batch[] = [];
  const counts = { sent: 0, waiting: 0, lost: 0 };
  let isFailing = false;

  async function tick(): Promise<MetricRow[]> {
    const rows = await collectMachine(new Date(), await readReadiness(api));
    backlog.push({ rows, key: crypto.randomUUID() });
    if (backlog.length > batches_max) {
      counts.lost += backlog.shift()?.rows.length ?? 0;
      print(`The backlog is full (${batches_max} batches). The oldest rows are discarded: ${counts.lost} so far.`);
    }
    await drain();
    counts.waiting = backlog.reduce((sum, batch) => sum + batch.rows.length, 0);
    return rows;
  }

  /** Sends in order. A batch keeps its key until it is acknowledged, so a retry cannot store its rows twice. */
  async function drain(): Promise<void> {
    for (let batch = backlog[0]; batch !== undefined; batch = backlog[0]) {
      const outcome = await send(api, batch);
      if (outcome.state === 'later') {
        if (!isFailing) print(`Rows wait and are sent again with the next batch: ${outcome.reason}`);
        isFailing = true;
        return;
      }
      backlog.shift();
      if (outcome.state === 'rejected') {
        counts.lost += batch.rows.length;
        print(`${batch.rows.length} rows were rejected: ${outcome.reason}`);
        continue;
      }
      counts.sent += batch.rows.length;
      if (isFailing) print('Rows are acknowledged again.');
      isFailing = false;
    }
  }

  async function run(everySeconds: number, signal: AbortSignal): Promise<void> {
    const everyMs = everySeconds * 1000;
    // Ticks are aligned to the clock, so a slow tick does not delay the later ones.
    while (await pause(everyMs - (Date.now() % everyMs), signal)) await tick();
  }

  return { counts, tick, run };
}

type Outcome = { state: 'sent' } | { state: 'later' | 'rejected'; reason: string };

async function send(api: Api, { rows, key }: Batch): Promise<Outcome> {
  try {
    await api.rows.write(rows, { idempotencyKey: key });
    return { state: 'sent' };
  } catch (error) {
    const isRejected = error instanceof TimestoreError && !error.retryable && (error.status ?? 0) < 500;
    return { state: isRejected ? 'rejected' : 'later', reason: reasonOf(error) };
  }
}

async function readReadiness(api: Api): Promise<Readiness | undefined> {
  try {
    const { body } = await api.ready();
    return body;
  } catch {
    return undefined; // the metrics of the machine do not depend on the stores
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await delay(ms, undefined, { signal });
    return true;
  } catch {
    return false;
  }
}
