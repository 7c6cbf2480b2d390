import { GetObjectCommand, HeadBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import type { Config } from '../config.ts';
import { StoreError } from '../errors.ts';

/** Each throws StoreError when the object store is away, or cannot be used with the credentials there are. */
export type Objects = {
  check(): Promise<void>;
  /** Writes an object, or writes it again. */
  put(key: string, text: string): Promise<void>;
  get(key: string): Promise<string>;
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
  const Bucket = config.S3_BUCKET;
  const options = () => ({ abortSignal: AbortSignal.timeout(timeout_ms) });
  return {
    async check() {
      await answered(() => client.send(new HeadBucketCommand({ Bucket }), options()));
    },
    async put(Key, text) {
      const ContentType = 'application/json';
      await answered(() => client.send(new PutObjectCommand({ Bucket, Key, Body: text, ContentType }), options()));
    },
    async get(Key) {
      return await answered(async () => {
        const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }), options());
        return (await Body?.transformToString()) ?? '';
      });
    },
  };
}

async function answered<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new StoreError('s3', 'did not answer', error);
  }
}
