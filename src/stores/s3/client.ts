import type { Config } from '../../core/config.ts';
import { StoreError } from '../../core/errors.ts';

/** Each method throws StoreError if the object store is unavailable or rejects the credentials. */
export type Objects = {
  check(): Promise<void>;
  /** Creates or replaces an object. */
  put(key: string, text: string): Promise<void>;
  /** The text of an object, if it exists. */
  get(key: string): Promise<string | undefined>;
  /** Bytes of an object from one offset up to another. Throws StoreError also if the etag has changed. */
  slice(key: string, etag: string, from: number, to: number): Promise<Uint8Array>;
  /** Up to 1,000 objects with a key prefix, in order, after a key. With `delimiter`: without objects in deeper folders. */
  list(prefix: string, options?: { after?: string | undefined; delimiter?: '/' }): Promise<StoredObject[]>;
  /** Size and etag of an object, if it exists. Each write changes the etag. */
  find(key: string): Promise<{ bytes: number; etag: string } | undefined>;
  /** A temporary URL to read an object without credentials. */
  presign(key: string, seconds: number): Promise<string>;
  /** A temporary URL to write an object without credentials. */
  presignPut(key: string, seconds: number): Promise<string>;
  /** Removes an object. Succeeds if it does not exist. */
  remove(key: string): Promise<void>;
};

export type StoredObject = { key: string; bytes: number; modifiedAt_ms: number };

const timeout_ms = 5_000;

/** Loads the large SDK at its first use only, because most instances never need it. */
export function createObjects(config: Config): Objects {
  const Bucket = config.S3_BUCKET;
  const options = () => ({ abortSignal: AbortSignal.timeout(timeout_ms) });
  const load = async () => {
    const sdk = await import('@aws-sdk/client-s3');
    const client = new sdk.S3Client({
      endpoint: config.S3_ENDPOINT,
      region: config.S3_REGION,
      credentials: { accessKeyId: config.S3_ACCESS_KEY_ID, secretAccessKey: config.S3_SECRET_ACCESS_KEY },
      // All S3 implementations support path style.
      forcePathStyle: true,
      // Otherwise a presigned upload URL would require the checksum of an empty body.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      maxAttempts: 2,
    });
    return { sdk, client };
  };
  let loading: ReturnType<typeof load> | undefined;
  const getClient = () => {
    loading ??= load();
    return loading;
  };
  return {
    async check() {
      await withStoreErrors(async () => {
        const { sdk, client } = await getClient();
        return await client.send(new sdk.HeadBucketCommand({ Bucket }), options());
      });
    },
    async put(Key, text) {
      const ContentType = 'application/json';
      await withStoreErrors(async () => {
        const { sdk, client } = await getClient();
        return await client.send(new sdk.PutObjectCommand({ Bucket, Key, Body: text, ContentType }), options());
      });
    },
    async get(Key) {
      return await withStoreErrors(async () => {
        const { sdk, client } = await getClient();
        try {
          const { Body } = await client.send(new sdk.GetObjectCommand({ Bucket, Key }), options());
          return (await Body?.transformToString()) ?? '';
        } catch (error) {
          if (error instanceof Error && error.name === 'NoSuchKey') return undefined;
          throw error;
        }
      });
    },
    async slice(Key, IfMatch, from, to) {
      return await withStoreErrors(async () => {
        const { sdk, client } = await getClient();
        const input = { Bucket, Key, IfMatch, Range: `bytes=${from}-${to - 1}` };
        const { Body } = await client.send(new sdk.GetObjectCommand(input), options());
        return (await Body?.transformToByteArray()) ?? new Uint8Array();
      });
    },
    async list(Prefix, { after, delimiter } = {}) {
      return await withStoreErrors(async () => {
        const { sdk, client } = await getClient();
        const input = { Bucket, Prefix, StartAfter: after, Delimiter: delimiter };
        const { Contents = [] } = await client.send(new sdk.ListObjectsV2Command(input), options());
        return Contents.map(({ Key = '', Size = 0, LastModified }) => {
          return { key: Key, bytes: Size, modifiedAt_ms: LastModified?.getTime() ?? 0 };
        });
      });
    },
    async find(Key) {
      return await withStoreErrors(async () => {
        const { sdk, client } = await getClient();
        try {
          const { ContentLength = 0, ETag = '' } = await client.send(
            new sdk.HeadObjectCommand({ Bucket, Key }),
            options(),
          );
          return { bytes: ContentLength, etag: ETag };
        } catch (error) {
          if (error instanceof Error && error.name === 'NotFound') return undefined;
          throw error;
        }
      });
    },
    async presign(Key, expiresIn) {
      return await withStoreErrors(async () => {
        const { sdk, client } = await getClient();
        const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner');
        return await getSignedUrl(client, new sdk.GetObjectCommand({ Bucket, Key }), { expiresIn });
      });
    },
    async presignPut(Key, expiresIn) {
      return await withStoreErrors(async () => {
        const { sdk, client } = await getClient();
        const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner');
        return await getSignedUrl(client, new sdk.PutObjectCommand({ Bucket, Key }), { expiresIn });
      });
    },
    async remove(Key) {
      await withStoreErrors(async () => {
        const { sdk, client } = await getClient();
        return await client.send(new sdk.DeleteObjectCommand({ Bucket, Key }), options());
      });
    },
  };
}

async function withStoreErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new StoreError('s3', 'did not answer', error);
  }
}
