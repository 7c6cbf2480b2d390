import type { FlushDeps } from '../flush/deps.ts';
import type { NodeContext } from '../stores/clickhouse/servers.ts';

/** A query reads both sides, and flushes where its freshness asks for it. */
export type QueryDeps = FlushDeps;

/** The same at a ClickHouse server: every statement asks this one. */
export type QueryNode = NodeContext<QueryDeps>;
