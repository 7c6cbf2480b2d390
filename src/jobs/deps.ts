import type { PostgresDeps, RedisDeps } from '../stores/deps.ts';

/** Jobs are rows in Postgres. A mark in Redis tells cron when the next job is due. */
export type JobDeps = RedisDeps & PostgresDeps;
