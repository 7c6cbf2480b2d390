import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { serveEngine } from '../serve.ts';

export type S3Options = {
  port: number;
  dataDir: string;
  bucket: string;
  accessKeyId: string;
  secretAccessKey: string;
};

serveEngine<S3Options>(async (options) => {
  const worker = convertV4MiniflareOptions({
    host: '127.0.0.1',
    port: options.port,
    cf: false,
    modules: true,
    script: "export default { fetch: () => new Response('only the S3 API is served here', { status: 404 }) };",
    compatibilityDate: '2026-01-01',
    r2Buckets: {
      BUCKET: {
        id: options.bucket,
        s3Credentials: { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey },
      },
    },
  });
  const miniflare = new Miniflare({ ...worker, resourcePersistencePath: options.dataDir });
  await miniflare.ready;
  return { stop: () => miniflare.dispose() };
});
