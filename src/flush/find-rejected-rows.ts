import { identifiedLines } from '../buffer/batch-rows.ts';
import type { Seal } from '../buffer/seal.ts';
import type { SkipList } from '../buffer/skip.ts';
import { assertDefined } from '../core/assert.ts';
import type { Table } from '../schema/table.ts';
import type { FlushNode } from './deps.ts';
import { type Candidate, rejectedByProbe } from './insert-probe.ts';

type Place = { seq: number; row: number };

/**
 * Finds the rows of a seal that ClickHouse rejects. Many rows can take several flushes; each continues from the list in the
 * seal.
 *
 * @returns the new skip list; an unchanged one if no single row is invalid
 * @throws ClickHouseError, StoreError for any other failure
 */
export async function findRejectedRows(
  node: FlushNode,
  table: Table,
  lane: number,
  seal: Seal,
  deadline_ms: number,
): Promise<SkipList> {
  const candidates = listCandidates(table, seal);
  const name = `${lane}.${seal.epoch}`;
  const refused = await rejectedByProbe(node, table, name, seal.settingsVersion, candidates, deadline_ms);
  const skip: SkipList = new Map([...seal.skip].map(([seq, rows]) => [seq, new Set(rows)]));
  for (const { seq, row } of refused) skip.set(seq, (skip.get(seq) ?? new Set()).add(row));
  return skip;
}

function listCandidates(table: Table, seal: Seal): Candidate<Place>[] {
  return seal.batches.flatMap((batch) => {
    const skipped = seal.skip.get(batch.seq);
    const rows = Array.from({ length: batch.rows }, (_, row) => row).filter((row) => !skipped?.has(row));
    const lines = identifiedLines(batch, table.schema, (row) => !skipped?.has(row));
    return rows.map((row, i) => ({
      place: { seq: batch.seq, row },
      line: assertDefined(lines[i], `batch ${batch.seq} has row ${row}`),
    }));
  });
}
