import * as z from 'zod';
import { auditLine } from '../../catalog/audit-log/statement.ts';
import { ApiError } from '../../core/errors.ts';
import { currentActor } from '../../core/request-context.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs, type Params } from '../../stores/postgres/client.ts';
import { toText } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';

export const incidentStatuses = ['investigating', 'identified', 'monitoring', 'resolved'] as const;
export type IncidentStatus = (typeof incidentStatuses)[number];
export const incidentImpacts = ['none', 'minor', 'major', 'critical'] as const;

const incidentRow = z.object({
  n: z.string(),
  id: z.string(),
  title: z.string(),
  impact: z.enum(incidentImpacts),
  status: z.enum(incidentStatuses),
  rootService: z.string().nullable(),
  isAutomatic: z.boolean(),
  isPublic: z.boolean(),
  openedAt_ms: z.number(),
  resolvedAt_ms: z.number().nullable(),
  revision: z.number(),
  updates: z.array(
    z.object({ at_ms: z.number(), status: z.enum(incidentStatuses), body: z.string(), actor: z.string() }),
  ),
  alerts: z.array(
    z.object({
      ruleId: z.string(),
      fingerprint: z.string(),
      episode: z.number(),
      resolvedAt_ms: z.number().nullable(),
    }),
  ),
});

/** An incident with its timeline, oldest update first. */
export type Incident = z.output<typeof incidentRow>;

const ofIncidentSql = 'buffer = i.buffer and dataset = i.dataset and incident = i.id';

const columnsSql = `i.n, i.id, i.title, i.impact, i.status, i.root_service as "rootService", i.is_automatic as "isAutomatic",
  i.is_public as "isPublic", ${epochMs('i.opened_at')} as "openedAt_ms", ${epochMs('i.resolved_at')} as "resolvedAt_ms",
  i.revision,
  (select coalesce(jsonb_agg(jsonb_build_object('at_ms', ${epochMs('at')}, 'status', status, 'body', body, 'actor', actor)
            order by n), '[]') from incident_updates where ${ofIncidentSql}) as updates,
  (select coalesce(jsonb_agg(jsonb_build_object('ruleId', rule_id, 'fingerprint', fingerprint, 'episode', episode,
            'resolvedAt_ms', ${epochMs('resolved_at')}) order by rule_id, fingerprint, episode), '[]')
     from incident_alerts where ${ofIncidentSql}) as alerts`;

/** Incidents of a dataset, newest first. Throws StoreError. */
export async function listIncidents(
  ctx: MonitoringDeps,
  dataset: string,
  { before, isOpen, limit }: { before?: number | undefined; isOpen?: boolean | undefined; limit: number },
): Promise<Incident[]> {
  const rows = await ctx.postgres.rows(
    `select ${columnsSql} from incidents i
      where i.buffer = $buffer and i.dataset = $dataset and ($before::bigint is null or i.n < $before)
        and ($isOpen::boolean is null or (i.resolved_at is null) = $isOpen)
      order by i.n desc limit $limit`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, before: before ?? null, isOpen: isOpen ?? null, limit },
  );
  return checkRows(incidentRow, rows);
}

/** Throws ApiError `not-found`; StoreError. */
export async function readIncident(ctx: MonitoringDeps, dataset: string, id: string): Promise<Incident> {
  const rows = await ctx.postgres.rows(
    `select ${columnsSql} from incidents i where i.buffer = $buffer and i.dataset = $dataset and i.id = $id`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, id },
  );
  const [found] = checkRows(incidentRow, rows);
  if (found === undefined) throw new ApiError('not-found', `Incident ${id} not found.`);
  return found;
}

type NewIncident = Pick<Incident, 'title' | 'impact' | 'isPublic'> & { status: IncidentStatus; body: string };

/** Opens an incident that a person reports, with its first update. Throws StoreError, RefusedError. */
export async function createIncident(ctx: MonitoringDeps, dataset: string, given: NewIncident): Promise<Incident> {
  const id = `inc_${crypto.randomUUID().replaceAll('-', '').slice(0, 24)}`;
  const { title, body, ...rest } = given;
  const params: Params = {
    ...rest,
    title: toText(title),
    body: toText(body),
    buffer: ctx.config.TIMESTORE_KEY_PREFIX,
    dataset,
    id,
    actor: currentActor().actor,
  };
  const line = auditLine({ action: 'incident.create', dataset, detail: { incident: id, ...given } }, 'changed', params);
  await ctx.postgres.rows(
    `with changed as (
       insert into incidents (buffer, dataset, id, title, impact, status, is_automatic, is_public, opened_at, resolved_at)
       values ($buffer, $dataset, $id, $title, $impact, $status, false, $isPublic, now(),
               case when $status = 'resolved' then now() end) returning id),
     first as (insert into incident_updates (buffer, dataset, incident, n, status, body, actor)
       values ($buffer, $dataset, $id, 1, $status, $body, $actor)),
     line as (${line})
     select id from changed`,
    params,
  );
  return await readIncident(ctx, dataset, id);
}

type Members = Pick<Incident, 'title' | 'impact' | 'isPublic'>;
type Change = { [Name in keyof Members]?: Members[Name] | undefined };

/**
 * Changes members of an incident.
 *
 * @param revision that it must still have; undefined: any
 * @throws ApiError `not-found`, `precondition-failed`; StoreError
 */
export async function changeIncident(
  ctx: MonitoringDeps,
  dataset: string,
  id: string,
  change: Change,
  revision: number | undefined,
): Promise<Incident> {
  const { title, impact, isPublic } = change;
  const params: Params = {
    buffer: ctx.config.TIMESTORE_KEY_PREFIX,
    dataset,
    id,
    title: title === undefined ? null : toText(title),
    impact: impact ?? null,
    isPublic: isPublic ?? null,
    revision: revision ?? null,
  };
  const line = auditLine(
    { action: 'incident.change', dataset, detail: { incident: id, ...change } },
    'changed',
    params,
  );
  const changed = await ctx.postgres.rows(
    `with changed as (
       update incidents set title = coalesce($title, title), impact = coalesce($impact, impact),
              is_public = coalesce($isPublic::boolean, is_public), revision = revision + 1
        where buffer = $buffer and dataset = $dataset and id = $id and ($revision::integer is null or revision = $revision)
       returning id),
     line as (${line})
     select id from changed`,
    params,
  );
  const found = await readIncident(ctx, dataset, id);
  if (changed.length > 0) return found;
  throw new ApiError('precondition-failed', `Incident ${id} has revision ${found.revision}.`);
}

/**
 * Adds an update by a person, which sets the status. Updates are never changed.
 *
 * @throws ApiError `not-found`; `conflict` if the service has a newer open incident; StoreError
 */
export async function addUpdate(
  ctx: MonitoringDeps,
  dataset: string,
  id: string,
  { status, body }: { status: IncidentStatus; body: string },
): Promise<Incident> {
  const params: Params = {
    buffer: ctx.config.TIMESTORE_KEY_PREFIX,
    dataset,
    id,
    status,
    body: toText(body),
    actor: currentActor().actor,
  };
  const line = auditLine(
    { action: 'incident.update', dataset, detail: { incident: id, status, body } },
    'changed',
    params,
  );
  // The update of the row locks it, so that two updates do not get the same number.
  const changed = await ctx.postgres.transaction([
    ['select 1 from incidents where buffer = $buffer and dataset = $dataset and id = $id for update', params],
    [
      `with changed as (
         update incidents i set status = $status, revision = revision + 1,
                resolved_at = case when $status = 'resolved' then coalesce(resolved_at, now()) end
          where i.buffer = $buffer and i.dataset = $dataset and i.id = $id and ($status = 'resolved' or not exists (
                select from incidents o
                 where o.buffer = i.buffer and o.dataset = i.dataset and o.root_service = i.root_service and o.id <> i.id
                   and o.is_automatic and i.is_automatic and o.resolved_at is null))
         returning id),
       added as (insert into incident_updates (buffer, dataset, incident, n, status, body, actor)
         select $buffer, $dataset, id, (select coalesce(max(n), 0) + 1 from incident_updates u
                 where u.buffer = $buffer and u.dataset = $dataset and u.incident = $id), $status, $body, $actor from changed),
       line as (${line})
       select id from changed`,
      params,
    ],
  ]);
  const found = await readIncident(ctx, dataset, id);
  if ((changed[1]?.length ?? 0) > 0) return found;
  throw new ApiError('conflict', `Incident ${id} cannot be opened again: its service has a newer open incident.`);
}
