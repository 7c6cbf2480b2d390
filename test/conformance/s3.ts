import { must, type Probe } from './probe.ts';

const text = JSON.stringify({ text: 'é "quoted"\n', n: 1 });

export const s3Probes: Probe[] = [
  {
    store: 's3',
    what: 'has the bucket',
    fix: 'Check S3_ENDPOINT (path style), S3_REGION, S3_BUCKET and the key, which needs HeadBucket, GetObject, PutObject, DeleteObject and ListBucket.',
    async run({ ctx }) {
      await ctx.objects.check();
      return undefined;
    },
  },
  {
    store: 's3',
    what: 'writes, reads, finds, lists by pages and removes objects',
    fix: 'The key needs GetObject, PutObject, DeleteObject and ListBucket for the whole bucket.',
    async run({ ctx, id }) {
      const keys = ['a', 'b', 'c'].map((name) => `conformance/${id}/${name}`);
      for (const key of keys) await ctx.objects.put(key, text);
      must((await ctx.objects.get(keys[0] ?? '')) === text, 'an object comes back changed');
      must((await ctx.objects.get(`conformance/${id}/none`)) === undefined, 'an object that is not there is found');
      const first = await ctx.objects.find(keys[0] ?? '');
      await ctx.objects.put(keys[0] ?? '', `${text} `);
      const second = await ctx.objects.find(keys[0] ?? '');
      must(
        first?.etag !== second?.etag && second?.bytes === Buffer.byteLength(text) + 1,
        'an object written again looks the same',
      );
      const after = await ctx.objects.list(`conformance/${id}/`, { after: keys[0], delimiter: '/' });
      must(
        after.map(({ key }) => key).join() === keys.slice(1).join(),
        `a list after ${keys[0]} has ${after.length} objects`,
      );
      for (const key of keys) await ctx.objects.remove(key);
      must((await ctx.objects.list(`conformance/${id}/`)).length === 0, 'a removed object is listed');
      await ctx.objects.remove(keys[0] ?? '');
      return undefined;
    },
  },
  {
    store: 's3',
    what: 'gives addresses that anybody may write and read at for a while',
    fix: 'Uploads (timestore import of a file) and downloads of exports use presigned addresses, Signature Version 4.',
    async run({ ctx, id }) {
      const key = `conformance/${id}/presigned`;
      const put = await fetch(await ctx.objects.presignPut(key, 60), { method: 'PUT', body: text });
      must(put.ok, `a PUT is answered with ${put.status}`);
      const got = await fetch(await ctx.objects.presign(key, 60));
      must(got.ok && (await got.text()) === text, `a GET is answered with ${got.status}`);
      const address = new URL(await ctx.objects.presign(key, 60));
      address.pathname = `${address.pathname}-other`;
      must(!(await fetch(address)).ok, 'an address is good for another object');
      await ctx.objects.remove(key);
      return undefined;
    },
  },
];
