export const engineNames = ['s3', 'clickhouse', 'redis', 'upstash', 'postgres'] as const;
export type EngineName = (typeof engineNames)[number];

/** What went wrong with an engine, said once, with what to do about it. */
export class EngineFailure extends Error {
  /** `stack` where it is about what the engines share: their data directory. */
  readonly engine: EngineName | 'stack';

  constructor(engine: EngineName | 'stack', message: string, options?: ErrorOptions) {
    super(`${engine}: ${message}`, options);
    this.name = 'EngineFailure';
    this.engine = engine;
  }
}
