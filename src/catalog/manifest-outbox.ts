import { describeError } from '../core/log.ts';
import type { Statement } from '../stores/postgres/client.ts';
import { recordPast } from '../stores/postgres/record-past.ts';
import { ask, pageBytes, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { CatalogDeps } from './deps.ts';
import outboxPageLua from './lua/outbox-page.lua';
import setAsideLua from './lua/set-aside.lua';
import { insertManifests, insertPartitions, type Manifest } from './manifest.ts';

const pageScript = script(outboxPageLua);
const setAsideScript = script(setAsideLua);

const pageSize_max = 100;
/** A page is one Postgres transaction, which must end before its timeout. */
const page_bytes_max = 1024 * 1024;

/**
 * Moves the manifests of published seals into Postgres, oldest first, one transaction per page. A repeated manifest is recorded
 * once. A manifest with other content than the recorded one raises an alarm and changes nothing. A manifest that Postgres
 * rejects is set aside, and the row audit rebuilds it from ClickHouse when it is needed.
 *
 * @returns the number of moved manifests
 * @throws StoreError if Redis or Postgres is unavailable; the outbox keeps the manifests
 */
export async function drainManifestOutbox(ctx: CatalogDeps): Promise<number> {
  let moved = 0;
  for (;;) {
    const most = {
      entries_max: pageSize_max,
      page_bytes_max: Math.min(page_bytes_max, pageBytes(ctx.config.limits)),
    };
    const [which, ...entries] = await runScript<Page>(ctx.redis, pageScript, { outbox: ctx.keys.outbox }, most);
    if (entries.length === 0) return moved;
    const refused = await recordPast(entries, (some) => record(ctx, `[${some.map(manifestIn).join()}]`));
    for (const entry of refused) await setAside(ctx, entry);
    await ask(() =>
      ctx.redis.xdel(
        ctx.keys.outbox,
        entries.map(([id]) => id),
      ),
    );
    moved += entries.length - refused.length;
    if (which === 'all') return moved;
  }
}

type Entry = [id: string, fields: [name: 'm', manifest: string]];
type Page = [which: 'more' | 'all', ...Entry[]];

const manifestIn = ([, [, manifest]]: Entry) => manifest;

/** Removes an entry from the outbox that Postgres would reject again. */
async function setAside(ctx: CatalogDeps, entry: Entry): Promise<void> {
  const [id] = entry;
  const { outbox, refusedManifests: refused } = ctx.keys;
  await runScript(
    ctx.redis,
    setAsideScript,
    { outbox, refused },
    { entryId: id, refused_max: ctx.config.limits.refused_manifests_max },
  );
  const [, manifest] = /"id":"([^"\\]+)"/.exec(manifestIn(entry)) ?? [];
  ctx.log({ event: 'manifest-refused', alarm: true, entry: id, manifest });
}

/** Drains the outbox after a flush. Never rejects, because the flush has succeeded without Postgres. */
export async function tryDrainingManifestOutbox(ctx: CatalogDeps): Promise<void> {
  try {
    await drainManifestOutbox(ctx);
  } catch (error) {
    ctx.log({ event: 'outbox-waits', ...describeError(error) });
  }
}

/** Records manifests, each once. Throws StoreError, RefusedError. */
export async function recordManifests(ctx: CatalogDeps, manifests: Manifest[]): Promise<void> {
  await record(ctx, JSON.stringify(manifests));
}

/** @param json an array of manifests */
async function record(ctx: CatalogDeps, json: string): Promise<void> {
  const [, , conflicts = []] = await ctx.postgres.transaction(statements(json));
  for (const { id } of conflicts) ctx.log({ event: 'manifest-conflict', alarm: true, manifest: id });
}

/** The statements that record manifests, each once. The last one returns those that are recorded with other content. */
export function manifestStatements(manifests: Manifest[]): [Statement, Statement, Statement] {
  return statements(JSON.stringify(manifests));
}

function statements(manifests: string): [Statement, Statement, Statement] {
  return [
    [insertManifests, { manifests }],
    [insertPartitions, { manifests }],
    [
      `select m.id from manifests m join jsonb_populate_recordset(null::manifests, $manifests::jsonb) t using (id)
        where (m.rows, m.seq_from, m.seq_to, m.checksum) <> (t.rows, t.seq_from, t.seq_to, t.checksum)`,
      { manifests },
    ],
  ];
}
