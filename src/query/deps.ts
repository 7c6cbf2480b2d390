import type { FlushDeps } from '../flush/deps.ts';

/** A query reads both sides, and flushes where its freshness asks for it. */
export type QueryDeps = FlushDeps;
