import type { OperationDeps } from '../operations/deps.ts';
import type { Counters } from '../stores/counters.ts';

/** Dependencies of gauges and readiness checks. */
export type TelemetryDeps = OperationDeps & { counters: Counters };
