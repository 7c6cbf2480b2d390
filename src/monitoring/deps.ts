import type { TelemetryDeps } from '../telemetry/deps.ts';

/** Dependencies of service monitoring. */
export type MonitoringDeps = TelemetryDeps;
