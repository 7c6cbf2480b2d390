export const engineNames = ['s3', 'clickhouse', 'redis', 'upstash', 'postgres'] as const;
export type EngineName = (typeof engineNames)[number];

/** A failure of an engine. Its message says what to do. */
export class EngineFailure extends Error {
  /** `stack` for failures of the data directory, which all engines share. */
  readonly engine: EngineName | 'stack';

  constructor(engine: EngineName | 'stack', message: string, options?: ErrorOptions) {
    super(`${engine}: ${message}`, options);
    this.name = 'EngineFailure';
    this.engine = engine;
  }
}
