import * as z from 'zod';
import { findTable } from '../src/catalog/find-table.ts';
import { ClickHouseError } from '../src/clickhouse/client.ts';
import type { Context } from '../src/context.ts';
import { StoreError, TimestoreError } from '../src/errors.ts';
import { flushDue } from '../src/flush/flush-due.ts';
import { flushTable } from '../src/flush/flush-table.ts';
import { tryDrainingOutbox } from '../src/flush/outbox.ts';
import { wakeMirror } from '../src/migration/mirror-jobs.ts';
import { slug } from '../src/names.ts';
import { routes } from './app.ts';
import { requireAllDatasets, requireDataset, requireScope } from './auth.ts';
import { bodyAs } from './body.ts';
import { describe } from './describe.ts';
import { workBehind } from './jobs.ts';

const flushBody = z.strictObject({ dataset: slug, table: slug });

const flushedSchema = z
  .object({ rows: z.int().meta({ description: 'rows that this call moved' }) })
  .meta({ id: 'Flushed' });

/** Half of what a client usually waits. */
const flushLongest_ms = 25_000;

export const adminRoutes = routes().post(
  '/v1/admin/flush',
  describe({
    summary: 'Flush now',
    example: { body: { dataset: 'demo', table: 'readings' } },
    description:
      'Answers when everything acknowledged before the call is in ClickHouse and published. Without a body: all tables with ' +
      'pending rows.',
    tag: 'Admin',
    body: { required: false, types: { 'application/json': flushBody } },
    answers: { 200: { description: 'Published', schema: flushedSchema } },
    errors: ['not-found'],
  }),
  requireScope('admin'),
  async (c) => {
    const timestore = c.get('timestore');
    const hasBody = c.req.header('content-type') !== undefined && c.req.header('content-length') !== '0';
    const target = hasBody ? await bodyAs(c, flushBody) : undefined;
    if (target === undefined) requireAllDatasets(c, 'admin');
    else requireDataset(c, ['admin'], target.dataset);
    const rows = target === undefined ? await flushAll(timestore) : await flushOne(timestore, target);
    await tryDrainingOutbox(timestore);
    if (target !== undefined && (await wakeMirror(timestore, target))) workBehind(c);
    c.set('event', { rows });
    return c.json({ rows } satisfies z.input<typeof flushedSchema>);
  },
);

async function flushOne(ctx: Context, { dataset, table: name }: z.output<typeof flushBody>): Promise<number> {
  const table = await findTable(ctx, dataset, name);
  if (table === undefined) throw new TimestoreError('not-found', `There is no table ${name} in dataset ${dataset}.`);
  try {
    const { complete, rows } = await flushTable(ctx, table, 'admin', ctx.now() + flushLongest_ms);
    if (!complete) throw new StoreError('clickhouse', `has taken ${rows} rows so far, and more are pending`, undefined);
    return rows;
  } catch (error) {
    if (error instanceof ClickHouseError)
      throw new StoreError('clickhouse', 'refused the rows; they stay in the buffer', error);
    throw error;
  }
}

async function flushAll(ctx: Context): Promise<number> {
  const until_ms = ctx.now() + flushLongest_ms;
  let rows = 0;
  for (;;) {
    const pass = await flushDue(ctx, until_ms, 'admin');
    rows += pass.rows;
    if (pass.failed > 0) {
      throw new StoreError(
        'clickhouse',
        `has not taken the rows of ${pass.failed} lanes; they stay in the buffer`,
        undefined,
      );
    }
    if (pass.left === 0) return rows;
    if (ctx.now() >= until_ms) {
      throw new StoreError('clickhouse', `has taken ${rows} rows so far, and more are pending`, undefined);
    }
  }
}
