import { ask } from '../buffer/redis.ts';
import type { Context } from '../context.ts';
import { describeError } from '../log.ts';
import type { Statement } from '../postgres/client.ts';
import type { Manifest } from './manifest.ts';

const pageSize = 100;

/**
 * Moves the manifests of published seals into Postgres, oldest first, each page in one transaction. A manifest told twice
 * is one line; one that is there with other content is an alarm, and stays as it was.
 *
 * @returns how many manifests were moved
 * @throws StoreError when Redis or Postgres is away: the outbox keeps them
 */
export async function drainOutbox(ctx: Context): Promise<number> {
  let moved = 0;
  for (;;) {
    const entries = await readOutbox(ctx);
    if (entries.length === 0) return moved;
    const manifests = entries.map(([, [, manifest]]) => JSON.parse(manifest) as Manifest);
    await recordManifests(ctx, manifests);
    await ask(() =>
      ctx.redis.xdel(
        ctx.keys.outbox,
        entries.map(([id]) => id),
      ),
    );
    moved += entries.length;
    if (entries.length < pageSize) return moved;
  }
}

type Entry = [id: string, fields: [name: 'm', manifest: string]];

async function readOutbox(ctx: Context): Promise<Entry[]> {
  // The client's declared form is the one it makes when it deserialises, which it does not do here.
  return (await ask(() => ctx.redis.xrange(ctx.keys.outbox, '-', '+', pageSize))) as unknown as Entry[];
}

/** The same for the end of a flush, which is a success whether Postgres is there or not. */
export async function tryDrainingOutbox(ctx: Context): Promise<void> {
  try {
    await drainOutbox(ctx);
  } catch (error) {
    ctx.log({ event: 'outbox-waits', ...describeError(error) });
  }
}

/** Writes manifests down, each once. Throws StoreError when Postgres is away. */
export async function recordManifests(ctx: Context, manifests: Manifest[]): Promise<void> {
  const [, , conflicts = []] = await ctx.postgres.transaction(manifestStatements(manifests));
  for (const { id } of conflicts) ctx.log({ event: 'manifest-conflict', alarm: true, manifest: id });
}

/** What writes manifests down, each once; the last one answers those that are there with other content. */
export function manifestStatements(manifests: Manifest[]): [Statement, Statement, Statement] {
  const told = JSON.stringify(manifests);
  return [
    [
      `insert into manifests (id, dataset, "table", physical_table, lane, incarnation, token, epoch, seq_from, seq_to,
                              rows, bytes, schema_version, checksum, trigger, quarantined, expired, inserts, batches,
                              flushed_at)
       select id, dataset, "table", physical_table, lane, incarnation, token, epoch, seq_from, seq_to,
              rows, bytes, schema_version, checksum, trigger, quarantined, expired, inserts, batches, flushed_at
         from jsonb_populate_recordset(null::manifests, $1::jsonb)
       on conflict do nothing`,
      [told],
    ],
    [
      `insert into manifest_partitions (manifest_id, partition, rows, seq_from, seq_to, time_from, time_to, checksum)
       select m->>'id', p.partition, p.rows, p.seq_from, p.seq_to, p.time_from, p.time_to, p.checksum
         from jsonb_array_elements($1::jsonb) m,
              jsonb_populate_recordset(null::manifest_partitions, m->'partitions') p
       on conflict do nothing`,
      [told],
    ],
    [
      `select m.id from manifests m join jsonb_populate_recordset(null::manifests, $1::jsonb) t using (id)
        where (m.rows, m.seq_from, m.seq_to, m.checksum) <> (t.rows, t.seq_from, t.seq_to, t.checksum)`,
      [told],
    ],
  ];
}
