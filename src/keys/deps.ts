import type { PostgresDeps, RedisDeps } from '../stores/deps.ts';

/** API keys are in Postgres and cached in Redis. */
export type KeyDeps = RedisDeps & PostgresDeps;
