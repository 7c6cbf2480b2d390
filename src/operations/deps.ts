import type { JobKind } from '../jobs/job.ts';
import type { Step } from '../jobs/runner.ts';
import type { QueryDeps } from '../query/deps.ts';
import type { NodeContext } from '../stores/clickhouse/servers.ts';

/** Operations outlive a request and use everything below them. */
export type OperationDeps = QueryDeps;

/** The same at a ClickHouse server: every statement asks this one. */
export type OperationNode = NodeContext<OperationDeps>;

/** A step of a job that may use all operations. */
export type OperationStep<Kind extends JobKind> = Step<Kind, OperationDeps>;
