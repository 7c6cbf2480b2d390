import type { RedisDeps } from '../stores/deps.ts';

/** The hot buffer knows no store but Redis. */
export type BufferDeps = RedisDeps;
