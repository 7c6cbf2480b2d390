import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { beginReplay, endReplay, type Replay, TurnLost } from '../../buffer/replays.ts';
import { findNow } from '../../catalog/find-table.ts';
import { atAllRows } from '../../catalog/lane-location.ts';
import { type OpenRecord, type QuarantineRecord, quarantineTable } from '../../catalog/quarantine-table.ts';
import { StoreError } from '../../core/errors.ts';
import { quoteString } from '../../core/identifiers.ts';
import { describeError } from '../../core/log.ts';
import { flushTable } from '../../flush/flush-table.ts';
import { digest, recordInQuarantine } from '../../ingest/quarantine.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationDeps } from '../deps.ts';

const openRow: z.ZodType<Open> = z.object({ id: z.string(), table: z.string(), origin: z.enum(['request', 'flush']) });

/** A quarantined row that is not settled. */
type Open = Pick<QuarantineRecord, 'id' | 'table' | 'origin'>;
type Event = Exclude<QuarantineRecord['event'], 'quarantined'>;
type Settled = Open & { event: Event };
type Done = (record: Open, event: Event) => void;

/** How many rows were settled by which event. */
export type SettledCounts = Record<Event, number>;

const flush_ms_max = 15_000;
/** Rows that are staged before they are settled together. */
const page_rows = 50;
/** How often work restarts because other work has taken the turn. */
const turns_max = 8;
const turnPause_ms = 300;

/**
 * Runs work that settles quarantined rows, exclusively. Work that begins takes the turn; work that loses its turn restarts
 * with the rows that are still open. First settles rows that earlier work has staged but not settled.
 *
 * @param records records that are not open any more are ignored
 * @param work receives the open records
 * @returns how many of the records this call has settled
 * @throws TimestoreError `conflict` after losing the turn too often, and errors of the work; settled rows stay settled
 */
export async function settleExclusively(
  ctx: OperationDeps,
  dataset: string,
  records: OpenRecord[],
  work: (open: OpenRecord[], settling: Settling) => Promise<void>,
): Promise<SettledCounts> {
  const counts: SettledCounts = { replayed: 0, stored: 0, discarded: 0 };
  const quarantine = await findNow(ctx, dataset, quarantineTable);
  if (quarantine === undefined || records.length === 0) return counts;
  const chosen = new Set(records.map(({ id }) => id));
  for (let round = 0; ; round += 1) {
    try {
      const { turn, staged } = await beginReplay(ctx, quarantine);
      // Read after taking the turn: from then on, no other work settles or stages rows.
      const open = await findOpen(ctx, quarantine, [...chosen, ...staged]);
      const settling = new Settling(ctx, quarantine, turn, chosen, counts);
      await settling.settleStaged(staged, open);
      await work(
        records.filter(({ id }) => open.has(id) && !staged.includes(id)),
        settling,
      );
      return counts;
    } catch (error) {
      if (!(error instanceof TurnLost) || round === turns_max) throw error;
      // A random pause, so that two calls do not take the turn from each other forever.
      await delay(Math.random() * (round + 1) * turnPause_ms);
    }
  }
}

/** Settles rows page by page: records the events, then removes the staged rows from the hot buffer's memory. */
export class Settling {
  readonly #ctx: OperationDeps;
  readonly #quarantine: Table;
  readonly #chosen: Set<string>;
  readonly #counts: SettledCounts;
  #turn: string;

  constructor(ctx: OperationDeps, quarantine: Table, turn: string, chosen: Set<string>, counts: SettledCounts) {
    this.#ctx = ctx;
    this.#quarantine = quarantine;
    this.#turn = turn;
    this.#chosen = chosen;
    this.#counts = counts;
  }

  replayOf({ id }: Open): Replay {
    return { quarantine: this.#quarantine, id, turn: this.#turn };
  }

  /** Runs work for each row, and settles the rows that it reports as done, also when a later row fails. */
  async inPages(records: OpenRecord[], work: (record: OpenRecord, done: Done) => Promise<void> | void): Promise<void> {
    for (let from = 0; from < records.length; from += page_rows) {
      const settled: Settled[] = [];
      const done: Done = ({ id, table, origin }, event) => settled.push({ id, event, table, origin });
      try {
        for (const record of records.slice(from, from + page_rows)) await work(record, done);
      } catch (error) {
        await this.#settle(settled).catch((second) => {
          // The rows stay staged and open; the work with the next turn settles them.
          this.#ctx.log({ event: 'replay-unsettled', dataset: this.#quarantine.dataset, ...describeError(second) });
        });
        throw error;
      }
      await this.#settle(settled);
    }
  }

  /** Settles staged rows of earlier work that are still open. */
  async settleStaged(staged: string[], open: Map<string, Open>): Promise<void> {
    const settled = staged.flatMap((id): Settled[] => {
      const record = open.get(id);
      return record === undefined ? [] : [{ ...record, event: 'replayed' }];
    });
    await this.#settle(settled, staged);
  }

  async #settle(settled: Settled[], ids = settled.map(({ id }) => id)): Promise<void> {
    if (ids.length === 0) return;
    const name = digest(settled.map(({ id, event }) => `${id} ${event}`).join());
    const keyed = { idempotencyKey: `settled:${name}`, requestHash: name, isOwn: true };
    if (settled.length > 0) await recordInQuarantine(this.#ctx, this.#quarantine.dataset, settled, keyed);
    this.#turn = await endReplay(this.#ctx, this.#quarantine, this.#turn, ids);
    for (const { id, event } of settled) if (this.#chosen.has(id)) this.#counts[event] += 1;
  }
}

/** The rows with these ids that are not settled. Throws StoreError, ClickHouseError. */
async function findOpen(ctx: OperationDeps, quarantine: Table, ids: string[]): Promise<Map<string, Open>> {
  await flushQuarantine(ctx, quarantine);
  const { node, nameOf } = atAllRows(ctx, [quarantine]);
  const open = checkRows(
    openRow,
    await node.clickhouse.rows(
      `SELECT id, any(table) AS table, any(origin) AS origin FROM ${nameOf(quarantine)}
      WHERE id IN (${ids.map(quoteString).join(',')}) GROUP BY id HAVING countIf(event != 'quarantined') = 0`,
      {},
      { max_query_size: 4_194_304, max_ast_elements: 1_000_000 },
    ),
  );
  return new Map(open.map((record) => [record.id, record]));
}

/** Flushes the quarantine, so that ClickHouse has all records. Throws StoreError. */
export async function flushQuarantine(ctx: OperationDeps, quarantine: Table): Promise<void> {
  const { complete } = await flushTable(ctx, quarantine, 'admin', ctx.now() + flush_ms_max);
  if (!complete) throw new StoreError('clickhouse', 'does not have the newest rows of the quarantine yet', undefined);
}
