import type { TableRef } from '../../core/identifiers.ts';

/** Every key of the hot buffer. Those of one table share a hash tag, so that one script can work on all of them. */
export type Keys = ReturnType<typeof redisKeys>;

export function redisKeys(prefix: string) {
  const of = (table: TableRef, rest: string) => `${prefix}:{${table.dataset}.${table.physical}}:${rest}`;
  return {
    state: (table: TableRef, lane: number) => of(table, `state:${lane}`),
    log: (table: TableRef, lane: number) => of(table, `log:${lane}`),
    idem: (table: TableRef, key: string) => of(table, `idem:${key}`),
    /** Of a quarantine: the rows that are staged again and not settled yet, and whose turn it is. */
    replays: (quarantine: TableRef) => of(quarantine, 'replays'),
    /** That is gone when this buffer has failed over to before a cut. */
    cut: (table: TableRef, id: string) => of(table, `cut:${id}`),
    lease: (table: TableRef, lane: number) => of(table, `lease:${lane}`),
    /** Under the name that clients use, which is the same in each of the table's lives. */
    table: (dataset: string, name: string) => `${prefix}:{${dataset}.${name}}:table`,
    due: `${prefix}:due`,
    outbox: `${prefix}:outbox`,
    /** Manifests that Postgres refuses. */
    refusedManifests: `${prefix}:outbox-refused`,
    /** Sums of what has happened, over all instances. */
    metrics: `${prefix}:metrics`,
    /** That an instance has added a part of its sums to them. */
    metricsPart: (id: string) => `${prefix}:metrics:${id}`,
    apiKeys: `${prefix}:keys`,
    /** Who answers the queries of datasets that are taken over from another system. */
    reads: `${prefix}:reads`,
    /** What a dataset may take and has taken. */
    quota: (dataset: string) => `${prefix}:quota:${dataset}`,
    /** How much the idempotency keys of a dataset take. */
    remembered: (dataset: string) => `${prefix}:remembered:${dataset}`,
    /** How much the whole buffer uses and may use, for a while after that was looked at. */
    memory: `${prefix}:memory`,
  };
}

/** A lane as a member of the due set. Neither slugs nor physical names hold a slash. */
export function dueMember(table: TableRef, lane: number): string {
  return `${table.dataset}/${table.physical}/${lane}`;
}

export function parseDueMember(member: string): { table: TableRef; lane: number } | undefined {
  const [dataset, physical, lane] = member.split('/');
  if (dataset === undefined || physical === undefined || !/^\d+$/.test(lane ?? '')) return undefined;
  return { table: { dataset, physical }, lane: Number(lane) };
}
