import type { Context } from '../../src/create-context.ts';
import type { Table } from '../../src/schema/table.ts';
import type { Server } from '../../src/stores/clickhouse/servers.ts';

/** What probes work with: the product's own clients, and a table that nobody else has. */
export type Run = { ctx: Context & Server; table: Table; id: string };

/** One thing that the product relies on. */
export type Probe = {
  store: 'redis' | 'clickhouse' | 'postgres' | 's3';
  /** What is tried. */
  what: string;
  /** What to do where it fails. */
  fix: string;
  /** Throws where it does not hold; answers what is worth a look. */
  run(run: Run): Promise<string | undefined>;
};

/** Throws with words for the table of results. */
export function must(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

/** That something is refused. Throws where it is done, or nobody answers. */
export async function mustRefuse(what: string, work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  must(error !== undefined, `${what} is allowed`);
  if (!(error instanceof Error) || error.name === 'StoreError') throw error;
}
