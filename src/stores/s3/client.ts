import type { Config } from '../../core/config.ts';
import { StoreError } from '../../core/errors.ts';

/** Each throws StoreError when the object store is away, or cannot be used with the credentials there are. */
export type Objects = {
  check(): Promise<void>;
  /** Writes an object, or writes it again. */
  put(key: string, text: string): Promise<void>;
  /** The text of an object; undefined where there is none. */
  get(key: string): Promise<string | undefined>;
  /** Bytes of an object from one place up to another. Throws StoreError too where its etag is another by now. */
  slice(key: string, etag: string, from: number, to: number): Promise<Uint8Array>;
  /** Up to 1,000 objects whose keys begin so and have no further slash (with `delimiter`), in order, after one of them. */
  list(prefix: string, options?: { after?: string | undefined; delimiter?: '/' }): Promise<StoredObject[]>;
  /** An object as it is now; undefined where there is none. `etag` is another one whenever it is written again. */
  find(key: string): Promise<{ bytes: number; etag: string } | undefined>;
  /** An address that anybody can read an object at for a while, without credentials of their own. */
  presign(key: string, seconds: number): Promise<string>;
  /** An address that anybody can write an object at for a while. */
  presignPut(key: string, seconds: number): Promise<string>;
  /** Removes an object, there or not. */
  remove(key: string): Promise<void>;
};

export type StoredObject = { key: string; bytes: number; modifiedAt_ms: number };

const timeout_ms = 5_000;

/** Nothing of the SDK, which is large, is evaluated before it is needed: most instances never need it. */
export function createObjects(config: Config): Objects {
  const Bucket = config.S3_BUCKET;
  const options = () => ({ abortSignal: AbortSignal.timeout(timeout_ms) });
  const load = async () => {
    const sdk = await import('@aws-sdk/client-s3');
    const client = new sdk.S3Client({
      endpoint: config.S3_ENDPOINT,
      region: config.S3_REGION,
      credentials: { accessKeyId: config.S3_ACCESS_KEY_ID, secretAccessKey: config.S3_SECRET_ACCESS_KEY },
      // The form that every S3 there is understands.
      forcePathStyle: true,
      // An address to put a file at would ask for the checksum of nothing.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      maxAttempts: 2,
    });
    return { sdk, client };
  };
  let loading: ReturnType<typeof load> | undefined;
  const loaded = () => {
    loading ??= load();
    return loading;
  };
  return {
    async check() {
      await answered(async () => {
        const { sdk, client } = await loaded();
        return await client.send(new sdk.HeadBucketCommand({ Bucket }), options());
      });
    },
    async put(Key, text) {
      const ContentType = 'application/json';
      await answered(async () => {
        const { sdk, client } = await loaded();
        return await client.send(new sdk.PutObjectCommand({ Bucket, Key, Body: text, ContentType }), options());
      });
    },
    async get(Key) {
      return await answered(async () => {
        const { sdk, client } = await loaded();
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
      return await answered(async () => {
        const { sdk, client } = await loaded();
        const asked = { Bucket, Key, IfMatch, Range: `bytes=${from}-${to - 1}` };
        const { Body } = await client.send(new sdk.GetObjectCommand(asked), options());
        return (await Body?.transformToByteArray()) ?? new Uint8Array();
      });
    },
    async list(Prefix, { after, delimiter } = {}) {
      return await answered(async () => {
        const { sdk, client } = await loaded();
        const asked = { Bucket, Prefix, StartAfter: after, Delimiter: delimiter };
        const { Contents = [] } = await client.send(new sdk.ListObjectsV2Command(asked), options());
        return Contents.map(({ Key = '', Size = 0, LastModified }) => {
          return { key: Key, bytes: Size, modifiedAt_ms: LastModified?.getTime() ?? 0 };
        });
      });
    },
    async find(Key) {
      return await answered(async () => {
        const { sdk, client } = await loaded();
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
      return await answered(async () => {
        const { sdk, client } = await loaded();
        const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner');
        return await getSignedUrl(client, new sdk.GetObjectCommand({ Bucket, Key }), { expiresIn });
      });
    },
    async presignPut(Key, expiresIn) {
      return await answered(async () => {
        const { sdk, client } = await loaded();
        const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner');
        return await getSignedUrl(client, new sdk.PutObjectCommand({ Bucket, Key }), { expiresIn });
      });
    },
    async remove(Key) {
      await answered(async () => {
        const { sdk, client } = await loaded();
        return await client.send(new sdk.DeleteObjectCommand({ Bucket, Key }), options());
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
