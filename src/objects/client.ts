import { HeadBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { Config } from '../config.ts';
import { StoreError } from '../errors.ts';

export type Objects = {
  /** Throws StoreError when the bucket cannot be used with the credentials there are. */
  check(): Promise<void>;
};

const timeout_ms = 5_000;

export function createObjects(config: Config): Objects {
  const client = new S3Client({
    endpoint: config.S3_ENDPOINT,
    region: config.S3_REGION,
    credentials: { accessKeyId: config.S3_ACCESS_KEY_ID, secretAccessKey: config.S3_SECRET_ACCESS_KEY },
    // The form that every S3 there is understands.
    forcePathStyle: true,
    maxAttempts: 2,
  });
  return {
    async check() {
      try {
        const command = new HeadBucketCommand({ Bucket: config.S3_BUCKET });
        await client.send(command, { abortSignal: AbortSignal.timeout(timeout_ms) });
      } catch (error) {
        throw new StoreError('s3', 'did not answer', error);
      }
    },
  };
}
