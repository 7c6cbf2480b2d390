import type { Step } from '../jobs/definition.ts';
import type { QueryDeps } from '../query/deps.ts';
import type { NodeContext } from '../stores/clickhouse/servers.ts';

/** Dependencies of operations, which outlive a request and use all layers below. */
export type OperationDeps = QueryDeps;

/** The dependencies with one ClickHouse server for all statements. */
export type OperationNode = NodeContext<OperationDeps>;

/** A step of a job with the dependencies of operations. */
export type OperationStep<Definition> = Step<Definition, OperationDeps>;
