import type { CatalogDeps } from '../catalog/deps.ts';
import type { MemoryBudget } from '../core/memory-budget.ts';
import type { NodeContext } from '../stores/clickhouse/servers.ts';
import type { ObjectDeps } from '../stores/deps.ts';

/** A flush moves rows of the hot buffer to ClickHouse within a memory budget. */
export type FlushDeps = CatalogDeps & ObjectDeps & { memoryBudget: MemoryBudget };

/** `FlushDeps` with the clients of one ClickHouse server. */
export type FlushNode = NodeContext<FlushDeps>;
