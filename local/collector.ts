import { setTimeout as delay } from 'node:timers/promises';
import { TimestoreError } from '../src/client/index.ts';
import type { Api, Readiness } from './api.ts';
import { reasonOf } from './failure.ts';
import { collectMachine, type MetricRow } from './machine-metrics.ts';

type Batch = { rows: MetricRow[]; key: string };

export type Collector = {
  /** Rows acknowledged, waiting to be sent again, and given up. */
  readonly counts: { sent: number; waiting: number; lost: number };
  /** Collects once and sends it, after whatever still waits. Resolves with the rows collected. */
  tick(): Promise<MetricRow[]>;
  /** Goes on until the signal. Never rejects. */
  run(everySeconds: number, signal: AbortSignal): Promise<void>;
};

/** One batch a tick: at the default pace this is an hour of a Timestore that does not answer. */
const backlogMax = 720;

export function createCollector(api: Api, say: (line: string) => void): Collector {
  const backlog: Batch[] = [];
  const counts = { sent: 0, waiting: 0, lost: 0 };
  let isFailing = false;

  async function tick(): Promise<MetricRow[]> {
    const rows = await collectMachine(new Date(), await readiness(api));
    backlog.push({ rows, key: crypto.randomUUID() });
    if (backlog.length > backlogMax) {
      counts.lost += backlog.shift()?.rows.length ?? 0;
      say(`The backlog is full (${backlogMax} batches): its oldest rows are given up, ${counts.lost} so far.`);
    }
    await drain();
    counts.waiting = backlog.reduce((sum, batch) => sum + batch.rows.length, 0);
    return rows;
  }

  /** In order. A batch keeps its key until it is acknowledged, so that sending it again cannot double it. */
  async function drain(): Promise<void> {
    for (let batch = backlog[0]; batch !== undefined; batch = backlog[0]) {
      const outcome = await send(api, batch);
      if (outcome.state === 'later') {
        if (!isFailing) say(`Rows wait, and are sent again with the next: ${outcome.reason}`);
        isFailing = true;
        return;
      }
      backlog.shift();
      if (outcome.state === 'refused') {
        counts.lost += batch.rows.length;
        say(`${batch.rows.length} rows were refused: ${outcome.reason}`);
        continue;
      }
      counts.sent += batch.rows.length;
      if (isFailing) say('Rows are acknowledged again.');
      isFailing = false;
    }
  }

  async function run(everySeconds: number, signal: AbortSignal): Promise<void> {
    const everyMs = everySeconds * 1000;
    // On the clock's own grid: a slow tick does not shift those after it.
    while (await pause(everyMs - (Date.now() % everyMs), signal)) await tick();
  }

  return { counts, tick, run };
}

type Outcome = { state: 'sent' } | { state: 'later' | 'refused'; reason: string };

async function send(api: Api, { rows, key }: Batch): Promise<Outcome> {
  try {
    await api.rows.write(rows, { idempotencyKey: key });
    return { state: 'sent' };
  } catch (error) {
    const isRefused = error instanceof TimestoreError && !error.retryable && (error.status ?? 0) < 500;
    return { state: isRefused ? 'refused' : 'later', reason: reasonOf(error) };
  }
}

async function readiness(api: Api): Promise<Readiness | undefined> {
  try {
    const { body } = await api.ready();
    return body;
  } catch {
    return undefined; // the machine's own metrics do not depend on it
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
