import { createHash } from 'node:crypto';
import type { Statement } from '../../stores/postgres/client.ts';
import { toJsonb } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import { type Severity, severities } from '../resources/rule.ts';

/** An episode of an alert that began. */
export type IncidentAlert = {
  ruleId: string;
  fingerprint: string;
  episode: number;
  serviceId: string;
  /** The service that this one suffers from; its own id if it is the cause. */
  rootServiceId: string;
  severity: Severity;
  /** Title of an incident that it opens. */
  title: string;
  /** Whether a channel is notified of it. A suppressed alert joins an incident and opens none. */
  isNotified: boolean;
};

export type IncidentChanges = {
  begun: IncidentAlert[];
  ended: Pick<IncidentAlert, 'ruleId' | 'fingerprint' | 'episode'>[];
};

const impacts = { critical: 'critical', error: 'major', warning: 'minor', info: 'none' } as const satisfies Record<
  Severity,
  string
>;

/** An incident that ended this recently is opened again. */
const reopenWithin_ms = 15 * 60_000;

/**
 * The statements that open, reopen and resolve incidents, for the transaction that records the events of alerts. An incident
 * belongs to the service that caused it. Alerts of that service and of those that depend on it join it, and it ends with the
 * last of them.
 *
 * @param at_ms time of the evaluation, in milliseconds since 1970
 * @param incidentFrom least severity of an alert that opens an incident
 */
export function incidentStatements(
  ctx: MonitoringDeps,
  dataset: string,
  { begun, ended }: IncidentChanges,
  at_ms: number,
  incidentFrom: Severity = 'error',
): Statement[] {
  const named = { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, at_ms };
  const opening = new Map<string, object>();
  for (const { ruleId, fingerprint, episode, serviceId, rootServiceId, severity, title, isNotified } of begun) {
    const isSevere = severities.indexOf(severity) <= severities.indexOf(incidentFrom);
    if (!isNotified || !isSevere || serviceId !== rootServiceId || opening.has(serviceId)) continue;
    const key = [named.buffer, dataset, ruleId, fingerprint, episode].join('/');
    const id = `inc_${createHash('sha256').update(key).digest('hex').slice(0, 24)}`;
    opening.set(serviceId, { root: serviceId, id, title, impact: impacts[severity] });
  }
  const opened = { ...named, opening: toJsonb([...opening.values()]), roots: [...opening.keys()], reopenWithin_ms };
  const joining = begun.map(({ ruleId, rootServiceId, ...each }) => ({
    ...each,
    rule_id: ruleId,
    root: rootServiceId,
  }));
  const over = { ...named, ended: toJsonb(ended.map(({ ruleId, ...each }) => ({ ...each, rule_id: ruleId }))) };
  return [
    ...(opening.size > 0
      ? ([
          [reopenSql, opened],
          [openSql, opened],
        ] satisfies Statement[])
      : []),
    ...(begun.length > 0 ? ([[joinSql, { ...named, joining: toJsonb(joining) }]] satisfies Statement[]) : []),
    ...(opening.size > 0 ? ([[openedUpdateSql, opened]] satisfies Statement[]) : []),
    ...(ended.length > 0
      ? ([
          [endSql, over],
          [resolveSql, over],
        ] satisfies Statement[])
      : []),
  ];
}

const atSql = `to_timestamp($at_ms::float8 / 1000)`;
const openSqlOf = (root: string) => `select from incidents o
  where o.buffer = $buffer and o.dataset = $dataset and o.is_automatic and o.resolved_at is null and o.root_service = ${root}`;

const reopenSql = `
  update incidents i set status = 'investigating', resolved_at = null, revision = revision + 1
   where i.buffer = $buffer and i.dataset = $dataset and i.is_automatic and i.root_service = any($roots::text[])
     and i.resolved_at > ${atSql} - $reopenWithin_ms * interval '1 millisecond'
     and i.n = (select max(m.n) from incidents m
                 where m.buffer = $buffer and m.dataset = $dataset and m.is_automatic and m.root_service = i.root_service)`;

const openSql = `
  insert into incidents (buffer, dataset, id, title, impact, status, root_service, is_automatic, is_public, opened_at)
  select $buffer, $dataset, x.id, x.title, x.impact, 'investigating', x.root, true, false, ${atSql}
    from jsonb_to_recordset($opening::jsonb) x(root text, id text, title text, impact text)
   where not exists (${openSqlOf('x.root')})
  on conflict do nothing`;

const joinSql = `
  insert into incident_alerts (buffer, dataset, incident, rule_id, fingerprint, episode)
  select $buffer, $dataset, i.id, x.rule_id, x.fingerprint, x.episode
    from jsonb_to_recordset($joining::jsonb) x(rule_id text, fingerprint text, episode integer, root text)
    join incidents i on i.buffer = $buffer and i.dataset = $dataset and i.is_automatic and i.resolved_at is null
                    and i.root_service = x.root
  on conflict (buffer, dataset, rule_id, fingerprint, episode) do nothing`;

/** The number and status of the newest update of an incident `i`. */
const lastUpdateSql = `left join lateral (
  select u.n, u.status from incident_updates u
   where u.buffer = i.buffer and u.dataset = i.dataset and u.incident = i.id order by u.n desc limit 1) last on true`;

const openedUpdateSql = `
  insert into incident_updates (buffer, dataset, incident, n, at, status, body, actor)
  select i.buffer, i.dataset, i.id, coalesce(last.n, 0) + 1, ${atSql}, 'investigating',
         case when last.n is null then i.title else 'The service fails again.' end, 'cron'
    from incidents i ${lastUpdateSql}
   where i.buffer = $buffer and i.dataset = $dataset and i.is_automatic and i.resolved_at is null
     and i.root_service = any($roots::text[]) and (last.n is null or last.status = 'resolved')`;

const endedSql = `jsonb_to_recordset($ended::jsonb) x(rule_id text, fingerprint text, episode integer)`;
const isEndedSql = `a.buffer = $buffer and a.dataset = $dataset and a.rule_id = x.rule_id and a.fingerprint = x.fingerprint
  and a.episode = x.episode`;

const endSql = `
  update incident_alerts a set resolved_at = ${atSql} from ${endedSql} where ${isEndedSql} and a.resolved_at is null`;

const resolveSql = `
  with over as (
    update incidents i set status = 'resolved', resolved_at = ${atSql}, revision = revision + 1
     where i.buffer = $buffer and i.dataset = $dataset and i.is_automatic and i.resolved_at is null
       and i.id in (select a.incident from incident_alerts a, ${endedSql} where ${isEndedSql})
       and not exists (select from incident_alerts a
                        where a.buffer = i.buffer and a.dataset = i.dataset and a.incident = i.id and a.resolved_at is null)
    returning i.buffer, i.dataset, i.id)
  insert into incident_updates (buffer, dataset, incident, n, at, status, body, actor)
  select i.buffer, i.dataset, i.id, coalesce(last.n, 0) + 1, ${atSql}, 'resolved', 'All alerts are resolved.', 'cron'
    from over i ${lastUpdateSql}`;
