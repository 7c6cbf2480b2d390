import { createHash } from 'node:crypto';
import { changeLanes } from '../../buffer/change-lanes.ts';
import { type ImportSeal, sealImport } from '../../buffer/seal-import.ts';
import { snapshotTable } from '../../buffer/snapshot.ts';
import { requireTable } from '../../catalog/change-table.ts';
import type { Manifest } from '../../catalog/manifest.ts';
import { setUpLanes } from '../../catalog/provision-lanes.ts';
import { StoreError } from '../../core/errors.ts';
import { flushTable } from '../../flush/flush-table.ts';
import { buildManifest } from '../../flush/manifest.ts';
import { countSeal, type PartitionCount, sumRows } from '../../flush/row-count.ts';
import type { Table } from '../../schema/table.ts';
import type { OperationNode } from '../deps.ts';
import type { Chunk } from './chunks.ts';

/**
 * Chooses the sequences of an import, one for each chunk, after the watermark of a lane that writers do not use. Only one
 * import into a table has sequences at a time: the catalogue rejects a second one.
 *
 * @returns undefined while another import uses the lane; otherwise the sequences and the receive time of their rows
 * @throws StoreError; TimestoreError `not-found`
 */
export async function chooseSeal(
  node: OperationNode,
  job: { id: string },
  table: Table,
  chunks: number,
): Promise<{ seal: ImportSeal; receivedAt_ms: number } | undefined> {
  const [other] = await node.postgres.rows(
    `select id from jobs where kind = 'import' and dataset = $dataset and "table" = $name and state in ('queued', 'running', 'failed')
        and progress ? 'seal' and (progress->>'life')::int = $life and id <> $id`,
    { dataset: table.dataset, name: table.name, life: table.life, id: job.id },
  );
  if (other !== undefined) return undefined;
  // The staging table is on this shard, so its rows go into a lane of this shard.
  const spare = table.shards.findLastIndex((shard, lane) => lane >= table.lanes && shard === node.shard);
  const lane = spare < 0 ? table.readLanes : spare;
  if (!(await growLanes(node, table, lane + 1))) return undefined;
  const snapshot = await snapshotTable(node, table, 'state');
  const state = snapshot === 'unknown' ? undefined : snapshot.lanes[lane];
  if (state === undefined) throw new StoreError('redis', `has no lane ${lane} of table ${table.name}`, undefined);
  const [from, to] = [state.watermark + 1, state.watermark + chunks];
  const token = `${lane}:${from}-${to}:${createHash('sha1').update(job.id).digest('hex')}`;
  // Times of a lane must ascend with its sequences even if this clock is behind.
  const receivedAt_ms = Math.max(node.now(), state.seqAt_ms ?? 0);
  return { seal: { id: job.id, lane, from, to, token }, receivedAt_ms };
}

/**
 * Adds a lane of this shard to those that readers use, if necessary. Safe to repeat.
 *
 * @returns false if another instance has added a lane of another shard at the same time
 */
async function growLanes(node: OperationNode, seen: Table, readLanes: number): Promise<boolean> {
  const { dataset, name, life, shards } = seen;
  await node.postgres.rows(
    `update tables set revision = revision + 1,
            definition = definition || jsonb_build_object('readLanes', $readLanes::int, 'shards', $shards::jsonb)
      where dataset = $dataset and name = $name and life = $life and (definition->>'readLanes')::int = $seenLanes and $seenLanes < $readLanes::int`,
    {
      dataset,
      name,
      life,
      readLanes,
      shards: JSON.stringify([...shards, node.shard].slice(0, readLanes)),
      seenLanes: seen.readLanes,
    },
  );
  // What the change has recorded, here or of another instance.
  const table = await requireTable(node, dataset, name);
  if (table.shards[readLanes - 1] !== node.shard) return false;
  do await setUpLanes(node, table);
  while ((await changeLanes(node, table, undefined, readLanes)) === 'unknown');
  return true;
}

/**
 * Takes the chosen sequences. Safe to repeat, also after they were published.
 *
 * @param progress `moved`: chunks in the table; `latest_ms`: set once all chunks were counted
 * @returns `lost` if another seal has taken the sequences and no row is stored under them: choose others
 * @throws StoreError
 */
export async function takeSeal(
  node: OperationNode,
  table: Table,
  seal: ImportSeal,
  { moved, latest_ms, receivedAt_ms }: { moved: number; latest_ms?: number | undefined; receivedAt_ms: number },
  deadline_ms: number,
): Promise<'taken' | 'later' | 'lost'> {
  const { outcome, watermark = 0 } = await sealImport(node, table, seal);
  switch (outcome) {
    case 'sealed':
    case 'published':
      return 'taken';
    case 'unknown':
      await setUpLanes(node, table);
      return 'later';
    case 'busy':
      await flushTable(node, table, 'admin', deadline_ms);
      return 'later';
    case 'lanes':
    case 'moved': {
      // All rows were counted and are visible: the import was published, and the lane has advanced since.
      if (latest_ms !== undefined && watermark >= seal.to) return 'taken';
      const stored = sumRows(await countSeal(node, table, seal.lane, { ...seal, batches: [{ receivedAt_ms }] }));
      if (moved === 0 && stored === 0) return 'lost';
      throw new StoreError(
        'redis',
        `has lost the sequences of import ${seal.id}, of which ${stored} rows are in ClickHouse`,
        undefined,
      );
    }
  }
}

/** The manifest of an import whose rows are counted. */
export function buildImportManifest(
  table: Table,
  { id, lane, from, to, token }: ImportSeal,
  counted: PartitionCount[],
  chunks: Chunk[],
  now_ms: number,
): Manifest {
  const planned = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
  const recorded = {
    lane,
    incarnation: '',
    token,
    seq_from: from,
    seq_to: to,
    trigger: 'import',
    expired: planned - sumRows(counted),
    inserts: chunks.length,
    batches: [{ seq: from, meta: { import: id } }],
  };
  return buildManifest(table, recorded, counted, now_ms);
}
