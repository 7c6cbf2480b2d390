import { describe, expect, test } from 'vitest';
import { scheduleImport } from '../../src/operations/import/request.ts';
import { auditTable } from '../../src/operations/row-audit/audit-table.ts';
import {
  at,
  expectStored,
  type Instance,
  newDataset,
  newInstance,
  query,
  send,
  tableOf,
} from '../integration/support.ts';
import { deaths, usePrograms } from './killed-jobs.ts';

const { newEnv, work, goOn } = usePrograms('killed-import');
const own = { TIMESTORE_IMPORT_ROWS_MAX: '1' };
const brought = [
  { timestamp: at(1, 1), v: 1 },
  { timestamp: at(1, 2), v: 2 },
];

/** An import of two chunks into a table that has a row. */
async function begun(ctx: Instance) {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  const key = `imports/${dataset}.ndjson`;
  await ctx.objects.put(key, brought.map((row) => JSON.stringify(row)).join('\n'));
  return { dataset, job: await scheduleImport(ctx, dataset, 'm', { format: 'ndjson', objects: [key] }, undefined) };
}

async function rehearsal(): Promise<string[]> {
  const env = newEnv(own);
  await begun(newInstance(env));
  return (await work(env)).calls;
}

// The first may meet scripts that Redis has not seen.
await rehearsal();
const calls = await rehearsal();
/** Every call is also tried without a process of its own, with other faults besides. */
const points = deaths(calls).filter((_, i) => process.env.FAULT_POINTS === 'all' || i % 6 === 3);

const values = async (env: Record<string, string>, dataset: string) => {
  return (await query(newInstance(env), dataset)).rows.map(({ v }) => Number(v)).sort();
};

describe('an import whose process is killed: nothing of it shows before all does, another goes on, and it is exact', () => {
  test.concurrent.each(points)('$name', async ({ fault }) => {
    const env = newEnv(own);
    const ctx = newInstance(env);
    const { dataset, job } = await begun(ctx);
    expect((await work(env, fault)).signal).toBe('SIGKILL');
    expect([[0], [0, 1, 2]]).toContainEqual(await values(env, dataset));
    expect(await goOn(env, job.id)).toMatchObject({ state: 'done', result: { rows: 2 } });
    expect(await values(env, dataset)).toEqual([0, 1, 2]);
    const table = await tableOf(newInstance(env), dataset);
    expect(await auditTable(ctx, table)).toMatchObject({ ok: true });
    await expectStored(ctx, table, 2);
  });
});
