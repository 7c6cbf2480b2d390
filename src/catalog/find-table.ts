import * as z from 'zod';
import { describeError } from '../core/log.ts';
import { readThrough } from '../core/read-through.ts';
import { parseTable, type Retention, retentionSchema, type Table, tableText } from '../schema/table.ts';
import { effectiveRetention, effectiveState, type State, states } from '../schema/table-state.ts';
import { checkRows } from '../stores/check-rows.ts';
import { ask, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import { bringForward, type Kept } from './bring-forward.ts';
import type { CatalogDeps } from './deps.ts';
import rememberTableLua from './lua/remember-table.lua';
import { knownTables } from './table-cache.ts';

const recordedRow: z.ZodType<Recorded> = z.object({
  life: z.number(),
  revision: z.number(),
  definition: z.looseObject({}),
  state: z.enum(states),
  retention: retentionSchema.nullable(),
  schema: z.string(),
});

const rememberScript = script(rememberTableLua);

/** How long a cached definition is trusted. A new field or a missing lane causes a new lookup at once. */
const trusted_ms = 30_000;

/**
 * Finds a table's definition in the cache of this instance, in the hot buffer, or in Postgres.
 *
 * @param atLeast a minimum schema version or life
 * @returns undefined if the table does not exist
 * @throws StoreError if it is not cached and Postgres is unavailable
 */
export async function findTable(
  ctx: CatalogDeps,
  dataset: string,
  name: string,
  { version = 0, life = 0 }: { version?: number; life?: number } = {},
): Promise<Table | undefined> {
  const suffices = (table: Table) => table.life >= life && table.schema.version >= version;
  // An old definition is better than none: fields are only ever added.
  const use = ({ table }: { table: Table }) => (suffices(table) ? table : undefined);
  const trust = { now_ms: ctx.now(), trusted_ms, use };
  return await readThrough(knownTables(ctx), memoryKey(dataset, name), trust, async () => {
    const buffered = await readBuffered(ctx, dataset, name);
    if (buffered !== undefined && suffices(buffered)) return keep(ctx, buffered);
    return await readTable(ctx, dataset, name);
  });
}

/** Whether the cached definition is fresh; an older one may lack the newest lanes. */
export function isRecentlySeen(ctx: CatalogDeps, { dataset, name }: Pick<Table, 'dataset' | 'name'>): boolean {
  const seen = knownTables(ctx).get(memoryKey(dataset, name));
  if (seen === undefined || seen.table.shards.length < seen.table.readLanes) return false;
  return ctx.now() - seen.seenAt_ms < trusted_ms;
}

/** The definition in the stores, without the cache of this instance. Throws StoreError. */
export async function findNow(ctx: CatalogDeps, dataset: string, name: string): Promise<Table | undefined> {
  const buffered = await readBuffered(ctx, dataset, name);
  return buffered === undefined ? await readTable(ctx, dataset, name) : keep(ctx, buffered);
}

/** The definition for readers: undefined for a table that is being deleted. Cached definitions may delay this. */
export async function findReadable(ctx: CatalogDeps, dataset: string, name: string): Promise<Table | undefined> {
  let table = await findTable(ctx, dataset, name);
  // The deletion may have been cancelled or the table created again, so a cached deletion needs a check.
  if (table?.state === 'deleting') table = await findNow(ctx, dataset, name);
  return table?.state === 'deleting' ? undefined : table;
}

/** Undefined also if Redis is unavailable, so that the caller asks Postgres. */
async function readBuffered(ctx: CatalogDeps, dataset: string, name: string): Promise<Table | undefined> {
  try {
    const text = await ask(() => ctx.redis.hget<string>(ctx.keys.table(dataset, name), 'definition'));
    if (text === null) return undefined;
    const definition: unknown = JSON.parse(text);
    // Definitions of older versions have no shards, which a cluster needs.
    const isWhole = ctx.cluster === undefined || (definition as { shards?: unknown }).shards !== undefined;
    return isWhole ? parseTable(definition) : undefined;
  } catch (error) {
    ctx.log({ event: 'table-cache-unreadable', dataset, table: name, ...describeError(error) });
    return undefined;
  }
}

type Recorded = {
  life: number;
  revision: number;
  definition: object;
  state: State;
  retention: Retention | null;
  schema: string;
};

/**
 * The definition in Postgres, for a change. Updates the caches. Repairs the record first if the catalogue was restored from an
 * older state.
 */
export async function readTable(ctx: CatalogDeps, dataset: string, name: string): Promise<Table | undefined> {
  let table = await readRecorded(ctx, dataset, name);
  const kept = await remember(ctx, dataset, name, table);
  if (kept !== undefined) {
    // A concurrent request may have changed the record.
    table = await readRecorded(ctx, dataset, name);
    if (await bringForward(ctx, dataset, name, table, kept)) table = await readRecorded(ctx, dataset, name);
    await remember(ctx, dataset, name, table);
  }
  if (table !== undefined) return keep(ctx, table);
  knownTables(ctx).delete(memoryKey(dataset, name));
  return undefined;
}

async function readRecorded(ctx: CatalogDeps, dataset: string, name: string): Promise<Table | undefined> {
  const [row] = checkRows(
    recordedRow,
    await ctx.postgres.rows(
      `select t.life, t.revision, t.definition, ${effectiveState} as state, ${effectiveRetention} as retention, s.schema
       from tables t
       join datasets d on d.name = t.dataset
       join schema_versions s on (s.dataset, s.name, s.life, s.version) = (t.dataset, t.name, t.life, t.schema_version)
      where t.dataset = $dataset and t.name = $name and t.dropped_at is null`,
      { dataset, name },
    ),
  );
  if (row === undefined) return undefined;
  return parseTable({
    ...row.definition,
    dataset,
    name,
    life: row.life,
    revision: row.revision,
    state: row.state,
    retention: row.retention ?? undefined,
    schema: JSON.parse(row.schema),
  });
}

/** Writes the definition to the hot buffer. Returns a newer version there. Redis is only a cache here, so failures are logged. */
async function remember(
  ctx: CatalogDeps,
  dataset: string,
  name: string,
  table: Table | undefined,
): Promise<Kept | undefined> {
  const args =
    table === undefined
      ? { life: 0, schemaVersion: 0, revision: 0, definition: '' }
      : {
          life: table.life,
          schemaVersion: table.schema.version,
          revision: table.revision,
          definition: tableText(table),
        };
  try {
    type Reply = [] | [life: string, version: string, revision: string, definition: string];
    const reply = await runScript<Reply>(ctx.redis, rememberScript, { tableKey: ctx.keys.table(dataset, name) }, args);
    if (reply.length === 0) return undefined;
    const [life, version, revision, definition] = reply;
    return { life: Number(life), version: Number(version), revision: Number(revision), definition };
  } catch (error) {
    ctx.log({ event: 'table-cache-unwritten', dataset, table: name, ...describeError(error) });
    return undefined;
  }
}

/** Caches the number of lanes of the hot buffer, which is authoritative. */
export function noteLanes(ctx: CatalogDeps, table: Table, lanes: number, readLanes: number): Table {
  return keep(ctx, { ...table, lanes, readLanes });
}

function keep(ctx: CatalogDeps, table: Table): Table {
  knownTables(ctx).set(memoryKey(table.dataset, table.name), { table, seenAt_ms: ctx.now() });
  return table;
}

function memoryKey(dataset: string, name: string): string {
  return `${dataset}.${name}`;
}
