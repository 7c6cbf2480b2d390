import type { FlushDeps } from '../flush/deps.ts';
import type { OwnTables } from './own-tables.ts';

/** A query reads both sides, and flushes where its freshness asks for it. */
export type QueryDeps = FlushDeps & {
  /** Tables that a layer above adds to SQL. */
  ownTables: OwnTables;
};
