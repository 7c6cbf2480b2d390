import * as z from 'zod';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs } from '../../stores/postgres/client.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import { runScript } from '../../stores/redis/client.ts';
import { script } from '../../stores/redis/script.ts';
import type { MonitoringDeps } from '../deps.ts';
import keepAlertsLua from '../lua/keep-alerts.lua';
import markAlertsLua from '../lua/mark-alerts.lua';
import noteEvaluatedLua from '../lua/note-evaluated.lua';
import readAlertsLua from '../lua/read-alerts.lua';
import { type AlertInstance, alertInstance } from './instance.ts';

const readScript = script(readAlertsLua);
const markScript = script(markAlertsLua);
const keepScript = script(keepAlertsLua);
const noteScript = script(noteEvaluatedLua);

/**
 * A commit is rejected this long after its evaluation has begun, by the database's clock. A mark expires later than that, with
 * room for the difference of the two clocks.
 */
export const commit_ms_max = 45_000;
const mark_ms = 60_000;

/** The copy is taken from Postgres again after this time, because a failover of the hot buffer can bring an older one back. */
const copy_ms_max = 3_600_000;

/** Alert state of a dataset: the instances that are not normal, and the numbers of past episodes. */
export type AlertState = {
  version: number;
  /** Undefined before the first evaluation. */
  evaluatedAt_ms: number | undefined;
  instances: AlertInstance[];
  /** The last episode of instances that are normal, by `instanceKey`. */
  episodes: Map<string, number>;
};

const copySchema = z.object({
  readAt_ms: z.number(),
  instances: z.array(alertInstance),
  episodes: z.array(z.tuple([z.string(), z.number()])),
});

/**
 * The state of a dataset's alerts, and the time of the hot buffer. Asks Postgres where the copy in the hot buffer is missing,
 * marked or old.
 *
 * @throws StoreError
 */
export async function readAlertState(
  ctx: MonitoringDeps,
  dataset: string,
): Promise<{ state: AlertState; now_ms: number }> {
  const alertsKey = ctx.keys.monitorAlerts(dataset);
  const reply = await runScript<string[]>(ctx.redis, readScript, { alertsKey }, {});
  const [now = '', version = '', text = '', evaluatedAt = '', dirty = ''] = reply;
  const now_ms = Number(now);
  // 0 stands for a state that was never evaluated.
  const copied_ms = Number(evaluatedAt) || undefined;
  if (version !== '' && dirty === '') {
    const copy = copySchema.parse(JSON.parse(text));
    if (now_ms - copy.readAt_ms < copy_ms_max) {
      const { instances, episodes } = copy;
      return {
        state: { version: Number(version), evaluatedAt_ms: copied_ms, instances, episodes: new Map(episodes) },
        now_ms,
      };
    }
  }
  const state = await readStored(ctx, dataset);
  const known_ms = Number(version) === state.version ? copied_ms : undefined;
  const newest = { ...state, evaluatedAt_ms: latest(state.evaluatedAt_ms, known_ms) };
  await keepAlertState(ctx, dataset, newest, now_ms);
  return { state: newest, now_ms };
}

function latest(a_ms: number | undefined, b_ms: number | undefined): number | undefined {
  return a_ms === undefined || b_ms === undefined ? (a_ms ?? b_ms) : Math.max(a_ms, b_ms);
}

const storedRow = z.object({
  version: z.number(),
  evaluatedAt_ms: z.number().nullable(),
  instances: z.array(z.unknown()),
  episodes: z.array(z.tuple([z.string(), z.number()])),
});

async function readStored(ctx: MonitoringDeps, dataset: string): Promise<AlertState> {
  const of = 'buffer = $buffer and dataset = $dataset';
  const [row] = checkRows(
    storedRow,
    await ctx.postgres.rows(
      `select version::float8 as version, ${epochMs(`nullif(evaluated_at, '-infinity')`)} as "evaluatedAt_ms",
              (select coalesce(jsonb_agg(instance order by rule_id, fingerprint), '[]') from alert_instances where ${of}) as instances,
              (select coalesce(jsonb_agg(jsonb_build_array(rule_id || '/' || fingerprint, episode)), '[]')
                 from alert_episodes where ${of}) as episodes
         from alert_states where ${of}`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset },
    ),
  );
  if (row === undefined) return { version: 0, evaluatedAt_ms: undefined, instances: [], episodes: new Map() };
  return {
    version: row.version,
    evaluatedAt_ms: row.evaluatedAt_ms ?? undefined,
    instances: row.instances.map((each) => alertInstance.parse(fromJsonb(each))),
    episodes: new Map(row.episodes),
  };
}

/** Marks the copy as out of date. Call it before the transaction that makes the version. Throws StoreError. */
export async function markAlertState(ctx: MonitoringDeps, dataset: string, version: number): Promise<void> {
  await runScript(ctx.redis, markScript, { alertsKey: ctx.keys.monitorAlerts(dataset) }, { version });
}

/**
 * Keeps a copy of a stored state.
 *
 * @param readAt_ms a time of the hot buffer before the state was read or committed
 */
export async function keepAlertState(
  ctx: MonitoringDeps,
  dataset: string,
  { version, evaluatedAt_ms, instances, episodes }: AlertState,
  readAt_ms: number,
): Promise<void> {
  const copy: z.input<typeof copySchema> = { readAt_ms, instances, episodes: [...episodes] };
  await runScript(
    ctx.redis,
    keepScript,
    { alertsKey: ctx.keys.monitorAlerts(dataset) },
    {
      version,
      evaluatedAt: evaluatedAt_ms ?? 0,
      expiredAt: readAt_ms - mark_ms,
      state: JSON.stringify(copy),
    },
  );
}

/** Notes an evaluation that changed nothing, in the hot buffer alone. */
export async function noteEvaluated(
  ctx: MonitoringDeps,
  dataset: string,
  version: number,
  evaluatedAt_ms: number,
): Promise<void> {
  const alertsKey = ctx.keys.monitorAlerts(dataset);
  await runScript(ctx.redis, noteScript, { alertsKey }, { version, evaluatedAt: evaluatedAt_ms });
}
