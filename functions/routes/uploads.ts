import * as z from 'zod';
import { uploadKey } from '../../src/operations/import/uploads.ts';
import { timeText } from '../http/paging.ts';
import { datasetParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const uploadBody = z.strictObject({
  name: z
    .string()
    .max(200)
    .regex(/^\.*[A-Za-z0-9_=-][A-Za-z0-9_.=-]*$/, 'must consist of letters, digits and _ . = -, and not of dots alone')
    .meta({ description: 'name of the file' }),
});

const uploadSchema = z
  .object({
    key: z.string().meta({ description: 'key of the object, for `objects` of an import' }),
    url: z.string().meta({ description: 'URL to PUT the file to, without an API key' }),
    expiresAt: z.string(),
  })
  .meta({ id: 'Upload' });

const urlLifetime_s = 3_600;

export const uploadRoutes = [
  route(
    {
      method: 'post',
      path: '/v1/admin/datasets/:dataset/uploads',
      scope: 'admin',
      tag: 'Imports',
      summary: 'Create an upload URL',
      description:
        'Returns a URL in the bucket that accepts a PUT of the file for an hour, without an API key. The file is deleted after a ' +
        'day, unless an import uses it.',
      params: datasetParams,
      body: uploadBody,
      responses: { 201: { description: 'The upload URL', schema: uploadSchema } },
      example: { path: { dataset: 'demo' }, body: { name: '2025.parquet' } },
    },
    async ({ ctx, params, body, json }) => {
      const key = await uploadKey(ctx, params.dataset, body.name);
      const expiresAt = timeText(ctx.now() + urlLifetime_s * 1000);
      return json(201, { key, url: await ctx.objects.presignPut(key, urlLifetime_s), expiresAt });
    },
  ),
];
