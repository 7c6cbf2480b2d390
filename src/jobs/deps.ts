import type { PostgresDeps, RedisDeps } from '../stores/deps.ts';

/** Jobs are rows in Postgres; marks in Redis say that there are some. */
export type JobDeps = RedisDeps & PostgresDeps;
