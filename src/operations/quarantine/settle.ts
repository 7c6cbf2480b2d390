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

/** What a row in quarantine is settled by, and with. */
type Open = Pick<QuarantineRecord, 'id' | 'table' | 'origin'>;
type Event = Exclude<QuarantineRecord['event'], 'quarantined'>;
type Settled = Open & { event: Event };
type Done = (record: Open, event: Event) => void;

/** How many rows were settled by which event. */
export type SettledCounts = Record<Event, number>;

const flushLongest_ms = 15_000;
/** Rows that are staged before they are settled. */
const pageSize = 50;
/** How often work begins again because other work has taken the turn. */
const turnsMax = 8;
const turnPause_ms = 300;

/**
 * Does what settles rows in quarantine, while no other does: whoever begins takes the turn, and the earlier one begins again
 * with the rows that are open still. Rows that earlier work has staged and not settled are settled first.
 *
 * @param records those that are not open any more are left out
 * @param work gets those that are open
 * @returns how many of the records were settled here
 * @throws TimestoreError `conflict` when others take the turn again and again, and what the work throws: what was settled
 *   before stays so
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
      // After that: what others have settled is in the quarantine, and what they have staged is known.
      const open = await openAmong(ctx, quarantine, [...chosen, ...staged]);
      const settling = new Settling(ctx, quarantine, turn, chosen, counts);
      await settling.settleStaged(staged, open);
      await work(
        records.filter(({ id }) => open.has(id) && !staged.includes(id)),
        settling,
      );
      return counts;
    } catch (error) {
      if (!(error instanceof TurnLost) || round === turnsMax) throw error;
      // Two that took the turn from each other at the same pace would both come to nothing.
      await delay(Math.random() * (round + 1) * turnPause_ms);
    }
  }
}

/** Records what has become of rows, page by page. What the hot buffer remembers of a row is removed only after that. */
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

  /** Does work on rows, and settles those of which it says what has become, also when it fails after them. */
  async inPages(records: OpenRecord[], work: (record: OpenRecord, done: Done) => Promise<void> | void): Promise<void> {
    for (let from = 0; from < records.length; from += pageSize) {
      const settled: Settled[] = [];
      const done: Done = ({ id, table, origin }, event) => settled.push({ id, event, table, origin });
      try {
        for (const record of records.slice(from, from + pageSize)) await work(record, done);
      } catch (error) {
        await this.#settle(settled).catch((second) => {
          // They stay staged and open, and whoever has the next turn settles them.
          this.#ctx.log({ event: 'replay-unsettled', dataset: this.#quarantine.dataset, ...describeError(second) });
        });
        throw error;
      }
      await this.#settle(settled);
    }
  }

  /** Rows that are staged: those that are open were not settled since. */
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

/** Those of some rows in quarantine that are not settled by now. Throws StoreError, ClickHouseError. */
async function openAmong(ctx: OperationDeps, quarantine: Table, ids: string[]): Promise<Map<string, Open>> {
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

/** So that ClickHouse has all that was set aside and settled by now. Throws StoreError. */
export async function flushQuarantine(ctx: OperationDeps, quarantine: Table): Promise<void> {
  const { complete } = await flushTable(ctx, quarantine, 'admin', ctx.now() + flushLongest_ms);
  if (!complete) throw new StoreError('clickhouse', 'has not taken the newest rows of the quarantine yet', undefined);
}
