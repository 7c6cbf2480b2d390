import * as z from 'zod';
import { readTable } from '../../catalog/find-table.ts';
import { knownLanes } from '../../catalog/provision-lanes.ts';
import { backoff_ms } from '../../core/backoff.ts';
import { ApiError } from '../../core/errors.ts';
import type { JobOf } from '../../jobs/definition.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationDeps, OperationStep } from '../deps.ts';
import { addSince, advanceLane, type Lane, laneSchema, type mirrorJob } from './mirror-progress.ts';
import { hasChanged, latestReceived_ms, mirrorRequests, nextRange, overtakenRows } from './mirror-rows.ts';
import { askSource, readProblem, retryAfter_ms } from './source.ts';

/** The source system remembers idempotency keys for a day. One hour is a margin for clocks that differ. */
const remembered_ms = 23 * 3_600_000;
/** Wait of a mirror without rows to send. */
const idle_ms = 20_000;
const retry_ms = 1_000;
const retry_ms_max = 300_000;

/**
 * Sends the published rows of a table to the source system, lane by lane in the order of the sequences. Idempotency keys let
 * the source system accept each request once, however often it is sent. A range is recorded before it is sent, so another
 * instance sends the same requests. A lane stops where the source system may have forgotten a key. The job is done when the
 * mirror is switched off or the table is dropped.
 */
export const mirrorStep: OperationStep<typeof mirrorJob> = async (ctx, job, deadline_ms) => {
  const { progress } = job;
  const table = await readTable(ctx, job.dataset, job.table);
  const sent = Object.entries(progress.lanes).map(([lane, { at }]) => ({ lane: Number(lane), seq: at }));
  const now_ms = await readTimeIfActive(ctx, job);
  if (table?.life !== progress.life || now_ms === undefined) return { done: { sent } };
  // The deletion may be cancelled.
  if (table.state === 'deleting') return { progress: { ...progress }, wait_ms: idle_ms };
  const lanes: Record<string, Lane> = {};
  const ends = new Map<string, number>();
  const publishedOf = new Map<string, string>();
  const snapshot = await knownLanes(ctx, table);
  for (const { lane, watermark, watermarkAt_ms } of snapshot.lanes) {
    const found = progress.lanes[lane] ?? laneSchema.parse({ at: await readMirrorBeginning(ctx, table, lane) });
    const published = `${watermark}:${watermarkAt_ms}`;
    const current = await findOvertaken(ctx, table, lane, addSince(found, progress, job), published, watermark);
    const { stopped: _, why: __, range, ...rest } = current;
    // A retry sends the range again even if the source system may have forgotten its keys.
    const renewed = range && { range: { ...range, since_ms: now_ms } };
    lanes[lane] = progress.retry ? { ...rest, ...renewed, waits: 0, notBefore_ms: 0 } : current;
    ends.set(String(lane), watermark);
    publishedOf.set(String(lane), published);
  }
  // Lanes with fewer failures first: a lane that fails must not delay the others.
  const sorted = Object.keys(lanes).sort((a, b) => (lanes[a]?.waits ?? 0) - (lanes[b]?.waits ?? 0));
  for (const lane of sorted) {
    const state = lanes[lane];
    if (state?.range === undefined || state.stopped !== undefined || state.notBefore_ms > ctx.now()) continue;
    if (ctx.now() >= deadline_ms) break;
    lanes[lane] = await sendRange(ctx, table, Number(lane), state, state.range, now_ms);
    // The source system is unavailable for the other lanes too.
    if (lanes[lane].waits > 0) break;
  }
  for (const lane of sorted) {
    const [state, end] = [lanes[lane], ends.get(lane)];
    if (state === undefined || end === undefined || state.range !== undefined || state.at >= end) continue;
    // Without a comparison at the current watermark, the lane may have overtaken rows.
    if (state.compared !== publishedOf.get(lane)) continue;
    lanes[lane] = await planRange(ctx, table, Number(lane), state, { seq: end, ms: snapshot.now_ms }, now_ms);
  }
  const states = Object.entries(lanes);
  const isBehind = states.some(([lane, { at }]) => at < (ends.get(lane) ?? 0));
  const waits_ms = states
    .filter(([lane, { at, stopped }]) => stopped === undefined && at < (ends.get(lane) ?? 0))
    .map(([, { notBefore_ms }]) => Math.max(0, notBefore_ms - ctx.now()));
  const error =
    states.flatMap(([, { stopped }]) => stopped ?? []).at(0) ?? states.flatMap(([, { why }]) => why ?? [])[0];
  return {
    progress: { life: progress.life, lanes, caughtUp_ms: isBehind ? (progress.caughtUp_ms ?? ctx.now()) : ctx.now() },
    wait_ms: Math.min(idle_ms, ...(waits_ms.length === 0 ? [idle_ms] : waits_ms)),
    ...(error !== undefined && { error }),
  };
};

/**
 * Sets a lane back to the first batch that it has overtaken: after a failover of the hot buffer, other batches may have
 * sequences that were already sent. `sent` keeps the batches that need not be sent again, by their time.
 */
async function findOvertaken(
  ctx: OperationDeps,
  table: Table,
  lane: number,
  state: Lane,
  published: string,
  end: number,
): Promise<Lane> {
  const at_ms = state.at_ms ?? (await latestReceived_ms(ctx, table, lane, 1, state.at));
  // A recorded range is sent first.
  if (state.range !== undefined || state.compared === published) return { ...state, at_ms };
  const overtaken = await overtakenRows(ctx, table, lane, { to: state.at, ms: at_ms }, end);
  if (overtaken === undefined) return { ...state, at_ms, compared: published };
  const { first, rows } = overtaken;
  ctx.log({
    event: 'mirror-overtaken',
    alarm: true,
    dataset: table.dataset,
    table: table.name,
    lane,
    from: first,
    rows,
  });
  const sent = [...state.sent, { to: state.at, ms: at_ms }];
  return {
    ...state,
    at: first - 1,
    at_ms: await latestReceived_ms(ctx, table, lane, 1, first - 1),
    sent,
    compared: published,
  };
}

const timeWhereOnRow = z.object({ since: z.number().nullable(), now_ms: z.number() });

/**
 * The time by the catalogue's clock; undefined when the job's mirror is off. A mirror that was switched on again has another
 * job.
 */
async function readTimeIfActive(ctx: OperationDeps, job: JobOf<typeof mirrorJob>): Promise<number | undefined> {
  const [found] = checkRows(
    timeWhereOnRow,
    await ctx.postgres.rows(
      `select (migration->>'since')::int as since, (extract(epoch from now()) * 1000)::float8 as now_ms
       from datasets where name = $dataset and dropped_at is null`,
      { dataset: job.dataset },
    ),
  );
  return found !== undefined && found.since === job.request.since ? found.now_ms : undefined;
}

const readMirrorBeginningRow = z.object({ watermark: z.string().nullable() });

/** The first sequence of a lane that was created after the mirror was switched on. Earlier rows were restored with the table. */
export async function readMirrorBeginning(
  ctx: OperationDeps,
  { dataset, name, life }: Table,
  lane: number,
): Promise<number> {
  const [first] = checkRows(
    readMirrorBeginningRow,
    await ctx.postgres.rows(
      'select min(watermark) as watermark from lanes where dataset = $dataset and name = $name and life = $life and lane = $lane',
      { dataset, name, life, lane },
    ),
  );
  return Number(first?.watermark ?? 0);
}

const plannedRow = z.object({ seq_from: z.string(), seq_to: z.string() });

/** Plans the next range of a lane, or advances the lane past sequences that are not sent. */
async function planRange(
  ctx: OperationDeps,
  table: Table,
  lane: number,
  state: Lane,
  end: { seq: number; ms: number },
  now_ms: number,
): Promise<Lane> {
  // Imports are not mirrored. Their manifests are recorded before their sequences are published.
  const [imported] = checkRows(
    plannedRow,
    await ctx.postgres.rows(
      `select seq_from, seq_to from manifests
      where dataset = $dataset and physical_table = $physical and lane = $lane and trigger = 'import' and seq_to > $at and seq_from <= $seq
      order by seq_from limit 1`,
      { dataset: table.dataset, physical: table.physical, lane, at: state.at, seq: end.seq },
    ),
  );
  const [from, to] = [Number(imported?.seq_from ?? end.seq + 1), Number(imported?.seq_to)];
  if (from <= state.at + 1) return advanceLane(state, to, await latestReceived_ms(ctx, table, lane, from, to));
  const { after, range } = await nextRange(
    ctx,
    { table, lane, after: state.at, sent: state.sent },
    { ...end, seq: from - 1 },
  );
  return range === undefined ? advanceLane(state, after) : { ...state, range: { ...range, since_ms: now_ms } };
}

/** Sends a range from its beginning, even if the source system has some of its rows: it recognizes their keys. */
async function sendRange(
  ctx: OperationDeps,
  table: Table,
  lane: number,
  before: Lane,
  range: NonNullable<Lane['range']>,
  now_ms: number,
): Promise<Lane> {
  const { since_ms = now_ms } = range;
  const state = { ...before, range: { ...range, since_ms } };
  const place = { table, lane, after: state.at, sent: state.sent };
  const event = { dataset: table.dataset, table: table.name, lane, from: state.at + 1, to: range.to };
  const stop = (why: string, details: object): Lane => {
    ctx.log({ event: 'mirror-stopped', alarm: true, ...event, ...details });
    return { ...state, stopped: `Lane ${lane} is not mirrored from sequence ${state.at + 1} on: ${why}` };
  };
  if (now_ms - since_ms > remembered_ms) {
    const hours = Math.floor((now_ms - since_ms) / 3_600_000);
    const why = `the source system has not accepted all of the next rows for ${hours} hours, and may have forgotten the idempotency keys of those it accepted. `;
    return stop(`${why}Delete these rows in the source system, then retry this job: it sends all of them again.`, {
      hours,
    });
  }
  for (const { body, idempotencyKey } of await mirrorRequests(ctx, place, range)) {
    const answer = await post(ctx, table, body, idempotencyKey);
    if (answer.outcome === 'accepted') continue;
    const { why } = answer;
    if (answer.outcome === 'wait') {
      const wait_ms = Math.max(answer.wait_ms, backoff_ms(state.waits, retry_ms, retry_ms_max));
      return { ...state, why, waits: state.waits + 1, notBefore_ms: ctx.now() + wait_ms };
    }
    // The request was accepted before rows were deleted or corrected. Such changes are not sent to the source system.
    if (answer.isReused && (await hasChanged(ctx, place, range))) {
      ctx.log({ event: 'mirror-rows-changed', ...event });
      continue;
    }
    return stop(why, { status: answer.status, code: answer.code });
  }
  return advanceLane(
    state,
    range.to,
    range.until_ms ?? (await latestReceived_ms(ctx, table, lane, state.at + 1, range.to)),
  );
}

type Answer =
  | { outcome: 'accepted' }
  | { outcome: 'wait'; why: string; wait_ms: number }
  | { outcome: 'rejected'; why: string; status: number; code: string; isReused: boolean };

async function post(ctx: OperationDeps, { dataset }: Table, body: string, idempotencyKey: string): Promise<Answer> {
  const headers = { 'content-type': 'application/json', 'idempotency-key': idempotencyKey };
  const signal = AbortSignal.timeout(ctx.config.limits.origin_timeout_ms);
  try {
    const answer = await askSource(ctx, `/datasets/${dataset}/ingest`, { body, headers, signal });
    const { status } = answer;
    if (status < 300) {
      await answer.body?.cancel();
      return { outcome: 'accepted' };
    }
    const { type, detail } = await readProblem(answer);
    const why = `the source system answered with status ${status}${detail === '' ? '.' : `: ${detail}`}`;
    if (status >= 500 || [408, 409, 425, 429].includes(status)) {
      return { outcome: 'wait', why, wait_ms: retryAfter_ms(answer.headers, ctx.now()) };
    }
    return { outcome: 'rejected', why, status, code: type, isReused: status === 422 && /key-reused$|^$/.test(type) };
  } catch (error) {
    return {
      outcome: 'wait',
      why: error instanceof ApiError ? error.message : 'The answer of the source system broke off.',
      wait_ms: 0,
    };
  }
}
