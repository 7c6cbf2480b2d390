import type { TableRef } from '../../core/identifiers.ts';

/** All keys of the hot buffer. The keys of a table share a hash tag, so that one script can use all of them. */
export type Keys = ReturnType<typeof redisKeys>;

export function redisKeys(prefix: string) {
  const of = (table: TableRef, rest: string) => `${prefix}:{${table.dataset}.${table.physical}}:${rest}`;
  return {
    state: (table: TableRef, lane: number) => of(table, `state:${lane}`),
    log: (table: TableRef, lane: number) => of(table, `log:${lane}`),
    idem: (table: TableRef, key: string) => of(table, `idem:${key}`),
    /** Replays of a quarantine: rows that are staged again and not settled, and the current turn. */
    replays: (quarantine: TableRef) => of(quarantine, 'replays'),
    /** A marker that a failover to an earlier state would lose. */
    cut: (table: TableRef, id: string) => of(table, `cut:${id}`),
    lease: (table: TableRef, lane: number) => of(table, `lease:${lane}`),
    /** By logical name, which all lives of a table share. */
    table: (dataset: string, name: string) => `${prefix}:{${dataset}.${name}}:table`,
    due: `${prefix}:due`,
    /** Times of the next looks for notices that wait to be sent. */
    noticesDue: `${prefix}:notices-due`,
    outbox: `${prefix}:outbox`,
    /** Manifests that Postgres rejected. */
    refusedManifests: `${prefix}:outbox-refused`,
    /** Sums of counters over all instances. */
    metrics: `${prefix}:metrics`,
    /** Marks a part of an instance's counters as added. */
    metricsPart: (id: string) => `${prefix}:metrics:${id}`,
    apiKeys: `${prefix}:keys`,
    /** Read modes of datasets in a takeover. */
    reads: `${prefix}:reads`,
    /** Quota and usage of a dataset. */
    quota: (dataset: string) => `${prefix}:quota:${dataset}`,
    /** Memory of the idempotency keys of a dataset. */
    remembered: (dataset: string) => `${prefix}:remembered:${dataset}`,
    /** A copy of the alert state of a monitored dataset. */
    monitorAlerts: (dataset: string) => `${prefix}:monitor-alerts:${dataset}`,
    /** The last good copy of a status page. */
    statusPage: (dataset: string, slug: string) => `${prefix}:status-page:${dataset}/${slug}`,
    /** Marks of the configurations of monitored datasets. */
    monitorMarks: `${prefix}:monitor`,
    /** A copy of the configuration of a monitored dataset. */
    monitorConfig: (dataset: string) => `${prefix}:monitor:${dataset}`,
    /** The last measurement of the buffer's memory, which expires. */
    memory: `${prefix}:memory`,
  };
}

/** A lane as a member of the due set. Slugs and physical names contain no slash. */
export function dueMember(table: TableRef, lane: number): string {
  return `${table.dataset}/${table.physical}/${lane}`;
}

export function parseDueMember(member: string): { table: TableRef; lane: number } | undefined {
  const [dataset, physical, lane] = member.split('/');
  if (dataset === undefined || physical === undefined || !/^\d+$/.test(lane ?? '')) return undefined;
  return { table: { dataset, physical }, lane: Number(lane) };
}
