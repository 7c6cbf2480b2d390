import { hash } from 'node:crypto';
import * as z from 'zod';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs } from '../../stores/postgres/client.ts';
import type { MonitoringDeps } from '../deps.ts';
import type { PublicIncident } from './view.ts';

const incidentRow = z.object({
  id: z.string(),
  title: z.string(),
  impact: z.enum(['none', 'minor', 'major', 'critical']),
  status: z.enum(['investigating', 'identified', 'monitoring', 'resolved']),
  rootService: z.string().nullable(),
  isAutomatic: z.boolean(),
  openedAt_ms: z.number(),
  resolvedAt_ms: z.number().nullable(),
  updates: z.array(z.object({ at_ms: z.number(), status: z.string(), body: z.string(), actor: z.string() })),
});

const incidents_max = 50;
const incidentDays = 90;

/** The actor of updates that an evaluation writes. */
const evaluation = 'cron';

const automaticTexts: Record<string, string> = {
  investigating: 'A problem was detected.',
  identified: 'The cause is known.',
  monitoring: 'The problem seems to be over.',
  resolved: 'The problem is over.',
};

/**
 * Public incidents of the last 90 days, newest first, as a page shows them. An incident with a root service is on pages
 * that have a component of the service. An automatic incident shows the label of the component and fixed texts; what
 * people write about it is shown as it is.
 *
 * @param options `componentsOf`: the labels of the page's components that contain a service
 * @throws StoreError
 */
export async function readIncidents(
  ctx: MonitoringDeps,
  dataset: string,
  options: { withAutomatic: boolean; componentsOf: (serviceId: string) => string[] },
): Promise<PublicIncident[]> {
  const rows = await ctx.postgres.rows(
    `select id, title, impact, status, root_service as "rootService", is_automatic as "isAutomatic",
            ${epochMs('opened_at')} as "openedAt_ms", ${epochMs('resolved_at')} as "resolvedAt_ms",
            (select coalesce(jsonb_agg(jsonb_build_object('at_ms', ${epochMs('u.at')}, 'status', u.status, 'body', u.body,
                      'actor', u.actor) order by u.n desc), '[]')
               from incident_updates u where u.buffer = i.buffer and u.dataset = i.dataset and u.incident = i.id) as updates
       from incidents i
      where buffer = $buffer and dataset = $dataset and (is_public or ($withAutomatic and is_automatic))
        and (resolved_at is null or resolved_at > now() - $days * interval '1 day')
      order by opened_at desc limit ${incidents_max}`,
    {
      buffer: ctx.config.TIMESTORE_KEY_PREFIX,
      dataset,
      withAutomatic: options.withAutomatic,
      days: incidentDays,
    },
  );
  return checkRows(incidentRow, rows).flatMap((row) => {
    const components = row.rootService === null ? [] : options.componentsOf(row.rootService);
    if (row.rootService !== null && components.length === 0) return [];
    return [publicIncident(dataset, row, components)];
  });
}

function publicIncident(dataset: string, row: z.output<typeof incidentRow>, components: string[]): PublicIncident {
  const { id, title, impact, status, isAutomatic, openedAt_ms, resolvedAt_ms, updates } = row;
  return {
    id: publicId(dataset, 'incident', id),
    title: isAutomatic ? `Problem with ${components.length === 0 ? 'a component' : components.join(', ')}` : title,
    impact,
    status,
    openedAt_ms,
    resolvedAt_ms,
    components,
    updates: updates.map(({ at_ms, status: then, body, actor }) => {
      const isOwnText = isAutomatic && actor === evaluation;
      return { at_ms, status: then, body: isOwnText ? (automaticTexts[then] ?? '') : body };
    }),
  };
}

/** An id for the public, which says nothing of the one inside. */
export function publicId(...parts: string[]): string {
  return hash('sha256', JSON.stringify(parts)).slice(0, 16);
}
