import type { CatalogDeps } from '../catalog/deps.ts';
import type { NodeContext } from '../stores/clickhouse/servers.ts';
import type { ObjectDeps } from '../stores/deps.ts';

/** Rows go through the catalogue to the hot buffer; large rejected rows to objects. */
export type IngestDeps = CatalogDeps & ObjectDeps;

/** `IngestDeps` with the clients of one ClickHouse server. */
export type IngestNode = NodeContext<IngestDeps>;
