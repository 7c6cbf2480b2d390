import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { useStack } from './support.ts';

const stack = useStack();

function client(secretAccessKey = stack().env.S3_SECRET_ACCESS_KEY ?? ''): S3Client {
  const { env } = stack();
  return new S3Client({
    endpoint: env.S3_ENDPOINT ?? '',
    region: env.S3_REGION ?? '',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: env.S3_ACCESS_KEY_ID ?? '', secretAccessKey },
  });
}

const bucket = () => stack().env.S3_BUCKET ?? '';

async function keysOf(s3: S3Client, prefix: string): Promise<string[]> {
  const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: bucket(), Prefix: prefix }));
  return Contents.map(({ Key = '' }) => Key);
}

async function textOf(s3: S3Client, Key: string): Promise<string> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket(), Key }));
  return (await Body?.transformToString()) ?? '';
}

test('objects are put, read, listed and deleted', async () => {
  const s3 = client();
  await s3.send(
    new PutObjectCommand({ Bucket: bucket(), Key: 'dir/grüße 1.txt', Body: 'one', ContentType: 'text/plain' }),
  );
  await s3.send(new PutObjectCommand({ Bucket: bucket(), Key: 'dir/2.txt', Body: 'two' }));
  expect(await textOf(s3, 'dir/grüße 1.txt')).toBe('one');
  expect(await keysOf(s3, 'dir/')).toEqual(['dir/2.txt', 'dir/grüße 1.txt']);
  await s3.send(new DeleteObjectCommand({ Bucket: bucket(), Key: 'dir/2.txt' }));
  expect(await keysOf(s3, 'dir/')).toEqual(['dir/grüße 1.txt']);
  await expect(textOf(s3, 'dir/2.txt')).rejects.toMatchObject({ name: 'NoSuchKey' });
});

test('a large object goes up in parts', async () => {
  const s3 = client();
  const object = { Bucket: bucket(), Key: 'parts' };
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand(object));
  const bodies = ['a'.repeat(5 * 1024 * 1024), 'the end'];
  const Parts = [];
  for (const [at, Body] of bodies.entries()) {
    const PartNumber = at + 1;
    const { ETag } = await s3.send(new UploadPartCommand({ ...object, UploadId, PartNumber, Body }));
    Parts.push({ PartNumber, ETag });
  }
  await s3.send(new CompleteMultipartUploadCommand({ ...object, UploadId, MultipartUpload: { Parts } }));
  expect((await textOf(s3, 'parts')) === bodies.join('')).toBe(true);
});

test('a wrong secret is refused', async () => {
  await expect(keysOf(client('wrong'), '')).rejects.toMatchObject({ $metadata: { httpStatusCode: 403 } });
});

test('objects survive kill -9', async () => {
  const s3 = client();
  await s3.send(new PutObjectCommand({ Bucket: bucket(), Key: 'durable', Body: 'kept' }));
  stack().engines.s3.kill('SIGKILL');
  await stack().engines.s3.restart();
  expect(await textOf(client(), 'durable')).toBe('kept');
});
