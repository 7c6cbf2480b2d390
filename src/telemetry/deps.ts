import type { OperationDeps } from '../operations/deps.ts';
import type { Counters } from '../stores/counters.ts';

/** Gauges and readiness of everything below. */
export type TelemetryDeps = OperationDeps & { counters: Counters };
