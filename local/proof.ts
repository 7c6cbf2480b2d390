/**
 * The whole way of a row, shown on real rows: acknowledged, readable before any flush, flushed, readable again and the
 * same, and on record in Postgres.
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
type Say = (text: string) => void;

const batches = 2;

/** Shows each step as it is taken; throws a StartFailure that says what was expected and what came. */
export async function prove(api: Api, env: Record<string, string>, say: Say): Promise<void> {
  // Rows that an earlier run left behind would start a flush of their own, under the first query's feet.
  const earlier = await api.flush();
  if (earlier.status !== 404) expectStatus('The flush of what earlier runs left', earlier, [200]);

  const sent = await sendRows(api, say);
  const range = rangeOf(sent);
  const limit = sent.length + 1;

  const before = await api.query<MetricRow>(range, metricColumns, limit);
  say(`Before any flush:\n${showAnswer(before)}`);
  expectAnswer('The query before any flush', before, 'replica+hot-buffer', sent);

  const flushed = await api.flush();
  say(`Flushed: ${describeAnswer(flushed)}`);
  expectStatus('The flush', flushed, [200]);

  const after = await api.query<MetricRow>(range, metricColumns, limit);
  say(`After the flush:\n${showAnswer(after)}`);
  expectAnswer('The query after the flush', after, 'replica-only', sent);

  const manifest = await newestManifest(env);
  if (manifest === undefined) {
    throw mismatch('Postgres', `a manifest of ${dataset}.${table}`, 'none');
  }
  say(`The manifest in Postgres:\n${showRecord(manifest)}`);
  const rows = Number(manifest.rows);
  if (rows !== sent.length) throw mismatch('The manifest', `${sent.length} rows`, `${manifest.rows}`);
}

async function sendRows(api: Api, say: Say): Promise<MetricRow[]> {
  const sent: MetricRow[] = [];
  for (let batch = 1; batch <= batches; batch++) {
    const { body: readiness } = await api.ready();
    const rows = await collectMachine(new Date(), readiness);
    const answer = await api.send(rows, crypto.randomUUID());
    say(`Sent ${rows.length} rows of this machine: ${describeAnswer(answer)}`);
    expectStatus('Sending rows', answer, [202, 200]);
    if (answer.body.accepted !== rows.length) {
      throw mismatch('Sending rows', `accepted: ${rows.length}`, `accepted: ${answer.body.accepted}`);
    }
    sent.push(...rows);
  }
  return sent;
}

/** From the first row to just after the last: no other run has rows in it. */
function rangeOf(rows: MetricRow[]): TimeRange {
  const times = rows.map((row) => Date.parse(row.timestamp));
  return { start: new Date(Math.min(...times)).toISOString(), end: new Date(Math.max(...times) + 1).toISOString() };
}

function expectStatus(what: string, answer: Answer<unknown>, statuses: number[]): void {
  if (!statuses.includes(answer.status))
    throw mismatch(what, `status ${statuses.join(' or ')}`, describeAnswer(answer));
}

function expectAnswer(what: string, answer: MetricAnswer, mode: string, sent: MetricRow[]): void {
  expectStatus(what, answer, [200]);
  const cameMode = answer.headers.get('x-timestore-freshness-mode') ?? 'none';
  if (cameMode !== mode) throw mismatch(what, `freshness mode ${mode}`, cameMode);
  const absent = freshnessHeaders.filter((name) => !answer.headers.has(name));
  if (absent.length > 0) throw mismatch(what, freshnessHeaders.join(', '), `no ${absent.join(', ')}`);
  const came = answer.body.rows;
  if (isDeepStrictEqual(inOrder(came), inOrder(sent))) return;
  const missing = sent.filter((row) => !came.some((other) => isDeepStrictEqual(other, row)));
  throw mismatch(
    what,
    `the ${sent.length} rows that were sent`,
    `${came.length} rows; ${missing.length} of those sent are not among them, for example ${JSON.stringify(missing[0])}`,
  );
}

/** Rows of one moment have no order of their own. */
function inOrder(rows: MetricRow[]): MetricRow[] {
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

const mismatch = (what: string, expected: string, came: string): StartFailure =>
  new StartFailure(`The proof failed. ${what}: expected ${expected}, got ${came}.`);
