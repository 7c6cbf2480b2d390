import type { RedisDeps } from '../stores/deps.ts';

/** The hot buffer depends on Redis only. */
export type BufferDeps = RedisDeps;
