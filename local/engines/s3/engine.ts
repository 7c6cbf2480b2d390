import { join } from 'node:path';
import type { S3Address } from '../addresses.ts';
import { local } from '../credentials.ts';
import type { EngineDefinition } from '../engine.ts';
import type { S3Options } from './process.ts';

/** Miniflare serves the S3 API of R2 under this path. */
const s3Path = '/cdn-cgi/local/r2/s3';

export function localS3(port: number): S3Address {
  return { endpoint: `http://127.0.0.1:${port}${s3Path}`, ...local.s3 };
}

export function s3Engine(dataDir: string, port: number): EngineDefinition {
  const { endpoint: url, bucket, accessKeyId, secretAccessKey } = localS3(port);
  const options: S3Options = { port, dataDir: join(dataDir, 's3'), bucket, accessKeyId, secretAccessKey };
  return {
    name: 's3',
    url,
    script: join(import.meta.dirname, 'process.ts'),
    options,
    // The engine is two processes, Miniflare and workerd. A fault test has to stop or kill both.
    signalsGroup: true,
    probe: async (signal) => {
      const response = await fetch(`${url}/${bucket}`, { signal });
      // A working S3 rejects unsigned requests.
      if (response.status !== 400 && response.status !== 403) throw new Error(`HTTP ${response.status}`);
      await response.text();
    },
  };
}
