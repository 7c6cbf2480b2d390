import type { Params, Statement } from '../../stores/postgres/client.ts';
import { toJsonb } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import { type IncidentChanges, incidentStatements } from '../incidents/statements.ts';
import { announceNotices } from '../notifications/marks.ts';
import { type Notice, noticeStatements } from '../notifications/notices.ts';
import type { MonitorConfig } from '../resources/store.ts';
import { type AlertState, commit_ms_max, keepAlertState, markAlertState } from './alert-state.ts';
import { type AlertInstance, instanceKey } from './instance.ts';

/** A line of the history of alerts. */
export type AlertEvent = {
  /** `<rule>/<fingerprint>/<episode>/<kind>`: the same event has the same id, whoever finds it. */
  id: string;
  at_ms: number;
  kind: string;
  ruleId: string;
  fingerprint: string;
  serviceId: string;
  episode: number;
  detail: Record<string, unknown>;
};

/** What an evaluation changes, all at once or not at all. */
export type AlertCommit = {
  state: AlertState;
  /** When the state was read, by the clock of the hot buffer. */
  now_ms: number;
  at_ms: number;
  /** The time up to which rules have been evaluated; undefined for an evaluation that could not read everything. */
  evaluatedAt_ms: number | undefined;
  changed: AlertInstance[];
  events: AlertEvent[];
  notices: Notice[];
  incidents: IncidentChanges;
};

/**
 * Stores state, events and notices in one transaction, if the state is still the one that was evaluated.
 *
 * The copy in the hot buffer is marked before the transaction: if the answer is lost, or this instance dies, the next reader asks
 * Postgres. The transaction is rejected after a deadline, so that a mark can expire.
 *
 * @throws StoreError; the transaction may have been committed nevertheless
 */
export async function commitAlerts(
  ctx: MonitoringDeps,
  dataset: string,
  { channels }: Pick<MonitorConfig, 'channels'>,
  commit: AlertCommit,
): Promise<void> {
  const { state, now_ms, at_ms, evaluatedAt_ms, changed } = commit;
  const version = state.version + 1;
  await markAlertState(ctx, dataset, version);
  const named = { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset };
  const noticed = noticeStatements(ctx, dataset, commit.notices, channels);
  const announcement = commit.notices.length > 0 ? await announceNotices(ctx) : undefined;
  const statements: Statement[] = [
    [`insert into alert_states (buffer, dataset) values ($buffer, $dataset) on conflict do nothing`, named],
    [
      versionSql,
      {
        ...named,
        version: state.version,
        at_ms,
        evaluatedAt_ms: evaluatedAt_ms ?? null,
        deadline_ms: now_ms + commit_ms_max,
      },
    ],
    ...instanceStatements(named, changed),
    [eventsSql, { ...named, events: toJsonb(commit.events.map(eventRow)) }],
    ...noticed.statements,
    ...incidentStatements(ctx, dataset, commit.incidents, at_ms),
  ];
  await ctx.postgres.transaction(statements);
  const isChanged = new Set(changed.map(instanceKey));
  const episodes = new Map(state.episodes);
  for (const each of changed)
    if (each.machine.state === 'normal') episodes.set(instanceKey(each), each.machine.episode);
  const instances = [
    ...state.instances.filter((each) => !isChanged.has(instanceKey(each))),
    ...changed.filter(({ machine }) => machine.state !== 'normal'),
  ];
  const next = { version, evaluatedAt_ms: evaluatedAt_ms ?? state.evaluatedAt_ms, instances, episodes };
  await keepAlertState(ctx, dataset, next, now_ms);
  await announcement?.committed(noticed.wait_ms);
}

/** Divides by zero, which rolls the transaction back, for a state that has changed and for a commit that is too late. */
const versionSql = `
  with changed as (
    update alert_states
       set version = version + 1,
           evaluated_at = coalesce(to_timestamp($evaluatedAt_ms::float8 / 1000), evaluated_at)
     where buffer = $buffer and dataset = $dataset and version = $version
       and evaluated_at < to_timestamp($at_ms::float8 / 1000)
       and clock_timestamp() < to_timestamp($deadline_ms::float8 / 1000)
    returning 1)
  select 1 / count(*) from changed`;

function instanceStatements(named: Params, changed: AlertInstance[]): Statement[] {
  const rows = changed.map((each) => ({
    rule_id: each.ruleId,
    fingerprint: each.fingerprint,
    service_id: each.serviceId,
    state: each.machine.state,
    episode: each.machine.episode,
    instance: each,
  }));
  const open = rows.filter(({ state }) => state !== 'normal');
  const over = rows.filter(({ state }) => state === 'normal');
  return [
    [deleteSql, { ...named, rows: toJsonb(over) }],
    [episodesSql, { ...named, rows: toJsonb(over.filter(({ episode }) => episode > 0)) }],
    [upsertSql, { ...named, rows: toJsonb(open) }],
  ];
}

const deleteSql = `
  delete from alert_instances i using jsonb_to_recordset($rows::jsonb) x(rule_id text, fingerprint text)
   where i.buffer = $buffer and i.dataset = $dataset and (i.rule_id, i.fingerprint) = (x.rule_id, x.fingerprint)`;

const episodesSql = `
  insert into alert_episodes (buffer, dataset, rule_id, fingerprint, episode)
  select $buffer, $dataset, rule_id, fingerprint, episode
    from jsonb_to_recordset($rows::jsonb) x(rule_id text, fingerprint text, episode integer)
  on conflict (buffer, dataset, rule_id, fingerprint) do update set episode = excluded.episode`;

const upsertSql = `
  insert into alert_instances (buffer, dataset, rule_id, fingerprint, service_id, state, instance)
  select $buffer, $dataset, rule_id, fingerprint, service_id, state, instance
    from jsonb_to_recordset($rows::jsonb) x(rule_id text, fingerprint text, service_id text, state text, instance jsonb)
  on conflict (buffer, dataset, rule_id, fingerprint) do update
    set service_id = excluded.service_id, state = excluded.state, instance = excluded.instance`;

function eventRow({ ruleId, serviceId, at_ms, ...rest }: AlertEvent) {
  return { ...rest, rule_id: ruleId, service_id: serviceId, at_ms };
}

const eventsSql = `
  insert into alert_events (buffer, dataset, id, at, kind, rule_id, fingerprint, service_id, episode, detail)
  select $buffer, $dataset, id, to_timestamp(at_ms / 1000), kind, rule_id, fingerprint, service_id, episode, detail
    from jsonb_to_recordset($events::jsonb)
      x(id text, at_ms float8, kind text, rule_id text, fingerprint text, service_id text, episode integer, detail jsonb)
  on conflict (buffer, dataset, id) do nothing`;
