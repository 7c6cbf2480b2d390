/**
 * Shows the write path on real rows: the rows are acknowledged, readable before any flush, flushed, readable unchanged
 * after the flush, and recorded in Postgres.
 *
 * @module
 */
import { isDeepStrictEqual } from 'node:util';
import { readConfig } from '../src/core/config.ts';
import { createPostgres } from '../src/stores/postgres/client.ts';
import {
  type Answer,
  type Api,
  adminKey,
  dataset,
  describeAnswer,
  type QueryAnswer,
  type TimeRange,
  table,
} from './api.ts';
import { StartFailure } from './failure.ts';
import { collectMachine, type MetricRow, metricColumns } from './machine-metrics.ts';
import { freshnessHeaders, showAnswer, showRecord } from './report.ts';

type MetricAnswer = Answer<QueryAnswer<MetricRow>>;
type Print = (text: string) => void;

const batches = 2;

/** Shows each step. Throws a StartFailure with the expected and the actual result. */
export async function prove(api: Api, env: Record<string, string>, print: Print): Promise<void> {
  // Rows of an earlier run could be flushed while the first query runs.
  const earlier = await api.flush();
  if (earlier.status !== 404) expectStatus('The flush of rows from earlier runs', earlier, [200]);

  const sent = await sendRows(api, print);
  const range = timeRangeOf(sent);
  const limit = sent.length + 1;

  const before = await api.query<MetricRow>(range, metricColumns, limit);
  print(`Before any flush:\n${showAnswer(before)}`);
  expectAnswer('The query before any flush', before, 'replica+hot-buffer', sent);

  const flushed = await api.flush();
  print(`Flushed: ${describeAnswer(flushed)}`);
  expectStatus('The flush', flushed, [200]);

  const after = await api.query<MetricRow>(range, metricColumns, limit);
  print(`After the flush:\n${showAnswer(after)}`);
  expectAnswer('The query after the flush', after, 'replica-only', sent);

  const manifest = await newestManifest(env);
  if (manifest === undefined) {
    throw mismatch('Postgres', `a manifest of ${dataset}.${table}`, 'no manifest');
  }
  print(`The manifest in Postgres:\n${showRecord(manifest)}`);
  const rows = Number(manifest.rows);
  if (rows !== sent.length) throw mismatch('The manifest', `${sent.length} rows`, `${manifest.rows}`);
}

async function sendRows(api: Api, print: Print): Promise<MetricRow[]> {
  const sent: MetricRow[] = [];
  for (let batch = 1; batch <= batches; batch++) {
    const { body: readiness } = await api.ready();
    const rows = await collectMachine(new Date(), readiness);
    const answer = await api.send(rows, crypto.randomUUID());
    print(`Sent ${rows.length} rows of this machine: ${describeAnswer(answer)}`);
    expectStatus('Sending rows', answer, [202, 200]);
    if (answer.body.accepted !== rows.length) {
      throw mismatch('Sending rows', `accepted: ${rows.length}`, `accepted: ${answer.body.accepted}`);
    }
    sent.push(...rows);
  }
  return sent;
}

/** From the first row to 1 ms after the last: no other run has rows in this range. */
function timeRangeOf(rows: MetricRow[]): TimeRange {
  const times = rows.map((row) => Date.parse(row.timestamp));
  return { start: new Date(Math.min(...times)).toISOString(), end: new Date(Math.max(...times) + 1).toISOString() };
}

function expectStatus(step: string, answer: Answer<unknown>, statuses: number[]): void {
  if (!statuses.includes(answer.status))
    throw mismatch(step, `status ${statuses.join(' or ')}`, describeAnswer(answer));
}

function expectAnswer(step: string, answer: MetricAnswer, mode: string, sent: MetricRow[]): void {
  expectStatus(step, answer, [200]);
  const actualMode = answer.headers.get('x-timestore-freshness-mode') ?? 'no freshness mode';
  if (actualMode !== mode) throw mismatch(step, `freshness mode ${mode}`, actualMode);
  const absent = freshnessHeaders.filter((name) => !answer.headers.has(name));
  if (absent.length > 0) throw mismatch(step, freshnessHeaders.join(', '), `no ${absent.join(', ')}`);
  const received = answer.body.rows;
  if (isDeepStrictEqual(sortRows(received), sortRows(sent))) return;
  const missing = sent.filter((row) => !received.some((other) => isDeepStrictEqual(other, row)));
  throw mismatch(
    step,
    `the ${sent.length} rows that were sent`,
    `${received.length} rows; ${missing.length} sent rows are missing, for example ${JSON.stringify(missing[0])}`,
  );
}

/** Sorts by more than the timestamp: rows with the same timestamp have no defined order. */
function sortRows(rows: MetricRow[]): MetricRow[] {
  const key = (row: MetricRow) => `${row.timestamp} ${row.metric} ${row.resource}`;
  return rows
    .map((row) => Object.fromEntries(metricColumns.map((name) => [name, row[name]])) as MetricRow)
    .sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

async function newestManifest(env: Record<string, string>): Promise<Record<string, unknown> | undefined> {
  const postgres = createPostgres(readConfig({ ...env, TIMESTORE_ADMIN_KEY: adminKey, TIMESTORE_LOCAL: 'true' }));
  const [manifest] = await postgres.rows<Record<string, unknown>>(
    'select * from manifests where dataset = $1 and "table" = $2 order by published_at desc limit 1',
    [dataset, table],
  );
  return manifest;
}

const mismatch = (step: string, expected: string, actual: string): StartFailure =>
  new StartFailure(`The proof failed. ${step}: expected ${expected}, got ${actual}.`);
