import { describe, expect, test } from 'vitest';
import { changeTable } from '../../../src/catalog/change-table.ts';
import type { Context } from '../../../src/create-context.ts';
import { at, newInstance, send, tableOf } from '../../integration/support.ts';
import { expectAnswered, expectFlushed, known, points, prefix, withFault } from './support.ts';

const changeLanes = (dataset: string) => (instance: Context) => changeTable(instance, dataset, 'm', { lanes: 3 });
const lanesCalls = (await withFault(undefined, changeLanes(await known()))).calls;

describe('a change of lanes that goes wrong at any call: rows are taken and read before and after, and asked for again it is done', () => {
  test.each(points(lanesCalls))('$name', async ({ fault }) => {
    const dataset = await known();
    const instance = await withFault(fault, changeLanes(dataset));
    const rows = [1, 2, 3, 4].map((v) => ({ timestamp: at(v), v }));
    for (const row of rows) await send(newInstance(prefix), dataset, [row], `key ${row.v}`);
    await expectAnswered(dataset, [{ timestamp: at(0), v: 0 }, ...rows]);
    await instance.releaseLate();
    await changeLanes(dataset)(newInstance(prefix));
    for (const row of rows) {
      expect((await send(newInstance(prefix), dataset, [row], `key ${row.v}`)).accepted.replayed).toBe(true);
    }
    await expectAnswered(dataset, [{ timestamp: at(0), v: 0 }, ...rows]);
    expect((await tableOf(newInstance(prefix), dataset)).lanes).toBe(3);
    await expectFlushed(dataset, 5);
  });
});
