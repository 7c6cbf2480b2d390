import * as z from 'zod';
import { readTable } from '../../catalog/find-table.ts';
import { knownLanes } from '../../catalog/provision-lanes.ts';
import { backoff_ms } from '../../core/backoff.ts';
import { ApiError } from '../../core/errors.ts';
import type { Job, JobOf } from '../../jobs/job.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationDeps, OperationStep } from '../deps.ts';
import { hasChanged, latestRow, mirrorRequests, nextRange, overtakenRows } from './mirror-rows.ts';
import { askSource, problemOf, retryAfter_ms } from './source.ts';

const laneSchema = z.object({
  /** The original has every row up to this sequence, but for those that are not mirrored. */
  at: z.int(),
  /** When the latest of the batches up to there was acknowledged (ms). */
  at_ms: z.number().optional(),
  /** What was sent beyond it, before the hot buffer failed over and the lane was gone through again. */
  sent: z.array(z.object({ to: z.int(), ms: z.number() })).default([]),
  /** What was published, and acknowledged when, as it was last compared with what was sent. */
  compared: z.string().optional(),
  /** What follows, on record before any of it is sent. */
  range: z
    .object({
      to: z.int(),
      fields: z.int(),
      checksum: z.string(),
      until_ms: z.number().optional(),
      /** From when on the original may have taken some of it. */
      since_ms: z.number().optional(),
    })
    .optional(),
  /** How often in a row the original has not taken it, why, and when it is asked again. */
  waits: z.int().default(0),
  why: z.string().optional(),
  notBefore_ms: z.number().default(0),
  /** Why nothing of the lane is sent any more, until somebody tries the job again. */
  stopped: z.string().optional(),
});

type Lane = z.output<typeof laneSchema>;

const progressSchema = z.object({
  life: z.int(),
  lanes: z.record(z.string(), laneSchema).default({}),
  /** When last everything that was published had arrived. */
  caughtUp_ms: z.number().optional(),
  /** Somebody has looked, and wants it to go on. */
  retry: z.boolean().default(false),
});

export type MirrorProgress = z.output<typeof progressSchema>;

export const mirrorProgress = (job: Pick<Job, 'progress'>): MirrorProgress => progressSchema.parse(job.progress);

/** How long the original certainly remembers the keys of requests: a day, the last hour of which is left to clocks that differ. */
const remembered_ms = 23 * 3_600_000;
/** The clock comes every minute. */
const idle_ms = 20_000;
const retry_ms = 1_000;
const retry_ms_max = 300_000;

/**
 * Sends what was published of a table to the original, lane by lane in order of the sequences, under keys by which the
 * original takes each once however often it is sent. What is sent is on record before: whoever takes over sends the same.
 * A lane stops where the original may have forgotten a key that it was sent. It goes on until the mirror is switched off or the table is gone.
 */
export const mirrorStep: OperationStep<'mirror'> = async (ctx, job, deadline_ms) => {
  const progress = mirrorProgress(job);
  const table = await readTable(ctx, job.dataset, job.table);
  const sent = Object.entries(progress.lanes).map(([lane, { at }]) => ({ lane: Number(lane), seq: at }));
  const now_ms = await timeWhereOn(ctx, job);
  if (table?.life !== progress.life || now_ms === undefined) return { done: { sent } };
  // Its deletion may be taken back.
  if (table.state === 'deleting') return { progress: { ...progress }, wait_ms: idle_ms };
  const lanes: Record<string, Lane> = {};
  const ends = new Map<string, number>();
  const publishedOf = new Map<string, string>();
  const snapshot = await knownLanes(ctx, table);
  for (const { lane, watermark, watermarkAt_ms } of snapshot.lanes) {
    const found = progress.lanes[lane] ?? laneSchema.parse({ at: await readMirrorBeginning(ctx, table, lane) });
    const published = `${watermark}:${watermarkAt_ms}`;
    const known = await compared(ctx, table, lane, aged(found, progress, job), published, watermark);
    const { stopped: _, why: __, range, ...rest } = known;
    // Somebody has looked: what may have been taken long ago is sent again all the same.
    const again = range && { range: { ...range, since_ms: now_ms } };
    lanes[lane] = progress.retry ? { ...rest, ...again, waits: 0, notBefore_ms: 0 } : known;
    ends.set(String(lane), watermark);
    publishedOf.set(String(lane), published);
  }
  // Those first that the original took last: one that it does not take must not keep the others waiting.
  const inTurn = Object.keys(lanes).sort((a, b) => (lanes[a]?.waits ?? 0) - (lanes[b]?.waits ?? 0));
  for (const lane of inTurn) {
    const state = lanes[lane];
    if (state?.range === undefined || state.stopped !== undefined || state.notBefore_ms > ctx.now()) continue;
    if (ctx.now() >= deadline_ms) break;
    lanes[lane] = await sendRange(ctx, table, Number(lane), state, state.range, now_ms);
    // It is away: the others would wait for it too.
    if (lanes[lane].waits > 0) break;
  }
  for (const lane of inTurn) {
    const [state, end] = [lanes[lane], ends.get(lane)];
    if (state === undefined || end === undefined || state.range !== undefined || state.at >= end) continue;
    // One that has not been compared with what is published by now may have rows behind it.
    if (state.compared !== publishedOf.get(lane)) continue;
    lanes[lane] = await planned(ctx, table, Number(lane), state, { seq: end, ms: snapshot.now_ms }, now_ms);
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

/** A lane whose range was recorded by an earlier version, which did not say when: certainly not before this. */
function aged(lane: Lane, { caughtUp_ms }: MirrorProgress, { createdAt_ms }: JobOf<'mirror'>): Lane {
  const { range } = lane;
  if (range === undefined || range.since_ms !== undefined) return lane;
  return { ...lane, range: { ...range, since_ms: caughtUp_ms ?? createdAt_ms } };
}

/**
 * A lane as it is to go on: again from the first batch that has come behind it, where the hot buffer has failed over and
 * sequences that were sent are those of others by now. What was sent of it stays known by its time.
 */
async function compared(
  ctx: OperationDeps,
  table: Table,
  lane: number,
  state: Lane,
  published: string,
  end: number,
): Promise<Lane> {
  const at_ms = state.at_ms ?? (await latestRow(ctx, table, lane, 1, state.at));
  // What is on its way comes first: it is known by its time as well.
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
  return { ...state, at: first - 1, at_ms: await latestRow(ctx, table, lane, 1, first - 1), sent, compared: published };
}

const timeWhereOnRow = z.object({ since: z.number().nullable(), now_ms: z.number() });

/**
 * The time, by the catalogue's clock, where it is still the mirror that the job was made for: one that was switched on again
 * begins anew.
 */
async function timeWhereOn(ctx: OperationDeps, job: JobOf<'mirror'>): Promise<number | undefined> {
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

/** Where a lane begins that came after the mirror was switched on: what is before was restored with the table. */
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

/** Puts the next range of a lane on record, or goes on behind what has nothing to send. */
async function planned(
  ctx: OperationDeps,
  table: Table,
  lane: number,
  state: Lane,
  end: { seq: number; ms: number },
  now_ms: number,
): Promise<Lane> {
  // They are on record before their sequences are published.
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
  if (from <= state.at + 1) return reached(state, to, await latestRow(ctx, table, lane, from, to));
  const { after, range } = await nextRange(
    ctx,
    { table, lane, after: state.at, sent: state.sent },
    { ...end, seq: from - 1 },
  );
  return range === undefined ? reached(state, after) : { ...state, range: { ...range, since_ms: now_ms } };
}

/** A lane that is done with everything up to a sequence, acknowledged up to a time. */
function reached({ at_ms = 0, sent, compared, ...rest }: Lane, at: number, ms = 0): Lane {
  const beyond = sent.filter(({ to }) => to > at);
  const passed = sent.filter(({ to }) => to <= at).map((each) => each.ms);
  const { range: _, why: __, stopped: ___, ...lane } = rest;
  return { ...lane, at, at_ms: Math.max(at_ms, ms, ...passed), sent: beyond, compared, waits: 0, notBefore_ms: 0 };
}

/** Sends a range again from its beginning, whatever of it the original has: by their keys it knows them. */
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
  const stop = (why: string, about: object): Lane => {
    ctx.log({ event: 'mirror-stopped', alarm: true, ...event, ...about });
    return { ...state, stopped: `Lane ${lane} is not mirrored from sequence ${state.at + 1} on: ${why}` };
  };
  if (now_ms - since_ms > remembered_ms) {
    const hours = Math.floor((now_ms - since_ms) / 3_600_000);
    const why = `the original has not taken all of its next rows for ${hours} hours, and may have forgotten the keys of those that it took. `;
    return stop(`${why}Remove those rows there, then retry this job: it sends all of them again.`, { hours });
  }
  for (const { body, idempotencyKey } of await mirrorRequests(ctx, place, range)) {
    const answer = await post(ctx, table, body, idempotencyKey);
    if (answer.outcome === 'taken') continue;
    const { why } = answer;
    if (answer.outcome === 'wait') {
      const wait_ms = Math.max(answer.wait_ms, backoff_ms(state.waits, retry_ms, retry_ms_max));
      return { ...state, why, waits: state.waits + 1, notBefore_ms: ctx.now() + wait_ms };
    }
    // Taken before, with rows that were deleted or corrected since: of those the original is not told.
    if (answer.isReused && (await hasChanged(ctx, place, range))) {
      ctx.log({ event: 'mirror-rows-changed', ...event });
      continue;
    }
    return stop(why, { status: answer.status, code: answer.code });
  }
  return reached(state, range.to, range.until_ms ?? (await latestRow(ctx, table, lane, state.at + 1, range.to)));
}

type Answer =
  | { outcome: 'taken' }
  | { outcome: 'wait'; why: string; wait_ms: number }
  | { outcome: 'refused'; why: string; status: number; code: string; isReused: boolean };

async function post(ctx: OperationDeps, { dataset }: Table, body: string, idempotencyKey: string): Promise<Answer> {
  const headers = { 'content-type': 'application/json', 'idempotency-key': idempotencyKey };
  const signal = AbortSignal.timeout(ctx.config.limits.origin_timeout_ms);
  try {
    const answer = await askSource(ctx, `/datasets/${dataset}/ingest`, { body, headers, signal });
    const { status } = answer;
    if (status < 300) {
      await answer.body?.cancel();
      return { outcome: 'taken' };
    }
    const { type, detail } = await problemOf(answer);
    const why = `the original answered with status ${status}${detail === '' ? '.' : `: ${detail}`}`;
    if (status >= 500 || [408, 409, 425, 429].includes(status)) {
      return { outcome: 'wait', why, wait_ms: retryAfter_ms(answer.headers, ctx.now()) };
    }
    return { outcome: 'refused', why, status, code: type, isReused: status === 422 && /key-reused$|^$/.test(type) };
  } catch (error) {
    return { outcome: 'wait', why: error instanceof ApiError ? error.message : 'It broke off.', wait_ms: 0 };
  }
}
