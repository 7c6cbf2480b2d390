import { setTimeout as delay } from 'node:timers/promises';
import { beforeEach, expect, test } from 'vitest';
import type { JobHandler } from '../../../src/jobs/definition.ts';
import type { JobDeps } from '../../../src/jobs/deps.ts';
import { runDeliveries, runDueJobs } from '../../../src/jobs/runner.ts';
import { newInstance } from '../support.ts';

const own = { TIMESTORE_KEY_PREFIX: `order-${process.pid}` };
const ctx = newInstance(own);

beforeEach(async () => {
  await ctx.postgres.rows('delete from jobs where buffer = $1', [own.TIMESTORE_KEY_PREFIX]);
  await ctx.redis.del(ctx.keys.due);
});

async function record(id: string, kind: 'alert' | 'backup', orderKey: string | null, request: object = {}) {
  await ctx.postgres.rows(
    `insert into jobs (id, kind, dataset, request, actor, request_id, buffer, order_key)
     values ($id, $kind, $dataset, $request::jsonb, 'test', '', $buffer, $orderKey)`,
    {
      id: `${own.TIMESTORE_KEY_PREFIX}-${id}`,
      kind,
      dataset: kind === 'alert' ? 'd' : null,
      request: JSON.stringify(request),
      buffer: own.TIMESTORE_KEY_PREFIX,
      orderKey,
    },
  );
}

/** A step that logs its beginning and its end. */
function logged(log: string[], { ms = 20, wait_ms = 0 } = {}): JobHandler<JobDeps> {
  return async (_, { id, progress }) => {
    const name = id.slice(own.TIMESTORE_KEY_PREFIX.length + 1);
    log.push(`${name} begins`);
    await delay(ms);
    log.push(`${name} ends`);
    if (wait_ms > 0 && name === 'x0' && progress.tried === undefined) return { progress: { tried: true }, wait_ms };
    return { done: {} };
  };
}

test('jobs of one order key run one after the other, also by two runners, and do not block other keys', async () => {
  for (let n = 0; n < 6; n += 1) await record(`a${n}`, 'alert', 'd/a');
  for (let n = 0; n < 6; n += 1) await record(`b${n}`, 'alert', 'd/b');
  const log: string[] = [];
  const runners = [ctx, newInstance(own)];
  await Promise.all(runners.map((each) => runDueJobs(each, { alert: logged(log) }, Date.now() + 20_000)));
  for (const key of ['a', 'b']) {
    const of = log.filter((line) => line.startsWith(key));
    expect(of).toEqual([0, 1, 2, 3, 4, 5].flatMap((n) => [`${key}${n} begins`, `${key}${n} ends`]));
  }
  expect(log.indexOf('b0 begins')).toBeLessThan(log.indexOf('a5 ends'));
});

test('a job that waits for its next try holds back the later ones of its key, and no others', async () => {
  await record('x0', 'alert', 'd/x');
  await record('x1', 'alert', 'd/x');
  for (let n = 0; n < 3; n += 1) await record(`y${n}`, 'alert', `d/y${n}`);
  const log: string[] = [];
  await runDueJobs(ctx, { alert: logged(log, { wait_ms: 1_500 }) }, Date.now() + 20_000);
  expect(log.filter((line) => line.startsWith('x'))).toEqual([
    'x0 begins',
    'x0 ends',
    'x0 begins',
    'x0 ends',
    'x1 begins',
    'x1 ends',
  ]);
  const second = log.lastIndexOf('x0 begins');
  for (let n = 0; n < 3; n += 1) expect(log.indexOf(`y${n} ends`)).toBeLessThan(second);
});

test('deliveries run four at a time; those not begun at the deadline are free again', async () => {
  for (let n = 0; n < 12; n += 1) await record(`k${n}`, 'alert', `d/${n}`);
  const log: string[] = [];
  expect(await runDueJobs(ctx, { alert: logged(log, { ms: 300 }) }, Date.now() + 200)).toBe(4);
  expect(log.slice(0, 4).every((line) => line.endsWith('begins'))).toBe(true);
  expect(log[4]).toMatch(/ends$/);
  expect(await runDueJobs(ctx, { alert: logged(log) }, Date.now() + 20_000)).toBe(8);
});

test('a runner takes only jobs of kinds that it knows, and deliveries leave the mark to the others', async () => {
  await record('backup', 'backup', null);
  await record('a', 'alert', 'd/a');
  const log: string[] = [];
  const alert = logged(log);
  const notify = () => Promise.resolve({ done: {} });
  expect(await runDeliveries(ctx, { notify, alert }, Date.now() + 5_000)).toBe(1);
  expect(await ctx.redis.zscore(ctx.keys.due, '#jobs')).not.toBeNull();
  expect(await runDueJobs(ctx, { backup: () => Promise.resolve({ done: {} }) }, Date.now() + 5_000)).toBe(1);
  expect(await ctx.redis.zscore(ctx.keys.due, '#jobs')).toBeNull();
});

test('an instance that dies at its work leaves a mark', async () => {
  await record('a', 'alert', 'd/a');
  const { promise: begun, resolve } = Promise.withResolvers<void>();
  const never = new Promise<never>(() => undefined);
  void runDueJobs(
    newInstance(own),
    {
      alert: () => {
        resolve();
        return never;
      },
    },
    Date.now() + 60_000,
  );
  await begun;
  const score = Number(await ctx.redis.zscore(ctx.keys.due, '#jobs'));
  expect(score - Date.now()).toBeGreaterThan(60_000);
  expect(score - Date.now()).toBeLessThanOrEqual(ctx.config.limits.job_claim_ms);
});
