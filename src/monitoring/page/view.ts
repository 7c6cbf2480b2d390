import * as z from 'zod';

/** The words of Statuspage for a component. */
export const componentStatuses = [
  'operational',
  'degraded_performance',
  'partial_outage',
  'major_outage',
  'under_maintenance',
] as const;

export const indicators = ['none', 'minor', 'major', 'critical'] as const;

const time_ms = z.number();

const day = z.object({
  /** The start of the day in UTC. */
  at_ms: time_ms,
  good: z.number(),
  bad: z.number(),
  all: z.number(),
  maintenance: z.number(),
});

const component = z.object({
  id: z.string(),
  label: z.string(),
  group: z.string().nullable(),
  status: z.enum(componentStatuses),
  /** False: the services have sent nothing for too long, so that the status is a guess. */
  isKnown: z.boolean(),
  days: z.array(day),
});

const update = z.object({ at_ms: time_ms, status: z.string(), body: z.string() });

const incident = z.object({
  id: z.string(),
  title: z.string(),
  impact: z.enum(indicators),
  status: z.enum(['investigating', 'identified', 'monitoring', 'resolved']),
  openedAt_ms: time_ms,
  resolvedAt_ms: time_ms.nullable(),
  components: z.array(z.string()),
  updates: z.array(update),
});

const maintenance = z.object({
  id: z.string(),
  title: z.string(),
  status: z.enum(['scheduled', 'in_progress', 'completed']),
  from_ms: time_ms,
  until_ms: time_ms,
  components: z.array(z.string()),
});

/**
 * All that a status page shows. This is its allow-list: every form of the page is made from this alone, so that no target,
 * id of a service, tag or error text can reach one.
 */
export const publicPage = z.object({
  version: z.literal(1),
  isPublic: z.boolean(),
  slug: z.string(),
  title: z.string(),
  description: z.string(),
  createdAt_ms: time_ms,
  asOf_ms: time_ms,
  components: z.array(component),
  /** Newest first. */
  incidents: z.array(incident),
  /** Those that run and come, the next first, then those that ended, newest first. */
  maintenances: z.array(maintenance),
});

export type PublicPage = z.output<typeof publicPage>;
export type PublicComponent = PublicPage['components'][number];
export type PublicIncident = PublicPage['incidents'][number];
export type PublicMaintenance = PublicPage['maintenances'][number];
export type PublicDay = PublicComponent['days'][number];
export type ComponentStatus = PublicComponent['status'];
export type PageIndicator = (typeof indicators)[number];

export const statusTexts: Record<ComponentStatus, string> = {
  operational: 'Operational',
  degraded_performance: 'Degraded performance',
  partial_outage: 'Partial outage',
  major_outage: 'Major outage',
  under_maintenance: 'Maintenance',
};

/** The status of a component in words. */
export function componentText({ status, isKnown }: Pick<PublicComponent, 'status' | 'isKnown'>): string {
  return isKnown ? statusTexts[status] : 'No recent data';
}

/** The status of the whole page. Maintenance alone is no failure. */
export function overallStatus({ components }: Pick<PublicPage, 'components'>): {
  indicator: PageIndicator;
  text: string;
} {
  const statuses = components.map(({ status }) => status);
  const count = (status: ComponentStatus) => statuses.filter((each) => each === status).length;
  const running = components.length - count('under_maintenance');
  if (components.length === 0) return { indicator: 'none', text: 'No components yet' };
  if (running > 0 && count('major_outage') === running) return { indicator: 'critical', text: 'Major outage' };
  if (count('major_outage') + count('partial_outage') > 0) return { indicator: 'major', text: 'Partial outage' };
  if (count('degraded_performance') > 0) {
    const isGuess = components.every(({ status, isKnown }) => status !== 'degraded_performance' || !isKnown);
    return { indicator: 'minor', text: isGuess ? 'Some components sent no recent data' : 'Degraded performance' };
  }
  if (count('under_maintenance') > 0) return { indicator: 'none', text: 'Maintenance in progress' };
  return { indicator: 'none', text: 'All systems operational' };
}
