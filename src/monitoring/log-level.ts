/** Values of `log_level` in `service_logs`, the worst first. */
export const logLevels = ['ERROR', 'WARN', 'INFO', 'DEBUG'] as const;
export type LogLevel = (typeof logLevels)[number];
