import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { descendants } from '../../local/process-tree.ts';
import { until } from '../local/support.ts';
import {
  call,
  commandLine,
  endProcess,
  expectNothingLeft,
  metricRows,
  newPlace,
  type Place,
  processOf,
  run,
} from './command.ts';

/** Up to where it has printed everything and goes on collecting. */
async function started(place: Place) {
  const command = run('start', place.env);
  await command.prints(/Ctrl-C stops everything/);
  return command;
}

test('killed outright it leaves nothing, and the next start has every row that was acknowledged', async () => {
  const place = await newPlace();
  const command = await started(place);
  const dataset = '/v1/datasets/kept';
  const acknowledged = await call(place, `${dataset}/tables/m/rows`, { timestamp: '2026-05-01T10:00:00Z', v: 1 });
  expect(acknowledged.status).toBe(202);
  process.kill(-command.pid, 'SIGKILL');
  await command.ended;
  await expectNothingLeft(place);

  const again = await started(place);
  const { body } = await call<{ rows: unknown[] }>(place, `${dataset}/query`, { tableName: 'm' });
  expect(body.rows).toEqual([{ timestamp: '2026-05-01T10:00:00.000Z', v: 1 }]);
  endProcess(again.pid, 'SIGTERM');
  expect(await again.ended).toBe(0);
  await expectNothingLeft(place);
});

test('two collect side by side until Ctrl-C in the terminal; reset leaves the one that runs alone, and removes the other', async () => {
  const [one, other] = [await newPlace(), await newPlace()];
  // A setting of the deployment is the Worker's as well.
  const origin = 'https://app.example.com';
  one.env.TIMESTORE_CORS_ORIGINS = origin;
  const commands = await Promise.all([started(one), started(other)]);
  expect(await call(one, '/ready')).toMatchObject({ status: 200, body: { status: 'ok' } });
  const allowed = await Promise.all(
    [one, other].map(async ({ port }) => {
      const answer = await fetch(`http://127.0.0.1:${port}/health`, { headers: { origin } });
      return answer.headers.get('access-control-allow-origin');
    }),
  );
  expect(allowed).toEqual([origin, null]);
  const output = commands[0].output();
  expect(output).toContain(`http://127.0.0.1:${one.port}`);
  expect(output).toMatch(/key +local-admin/);
  for (const header of ['freshness-mode', 'replica-age-ms', 'watermark']) {
    expect(output).toMatch(new RegExp(`x-timestore-${header}: \\S+`));
  }
  const first = await metricRows(one);
  expect(first).toBeGreaterThan(0);
  await until('more rows arrive', async () => (await metricRows(one)) > first);

  await call(one, '/v1/datasets/only/tables/one/rows', { timestamp: 0 });
  expect((await call(other, '/v1/datasets/only/query', { tableName: 'one' })).status).toBe(404);

  const refused = run('reset', one.env);
  expect(await refused.ended).toBe(1);
  expect(refused.output()).toContain('in use by another running stack');

  // A terminal sends it to the whole group.
  process.kill(-commands[0].pid, 'SIGINT');
  expect(await commands[0].ended).toBe(0);
  await expectNothingLeft(one);
  expect((await call(other, '/ready')).status).toBe(200);
  expect(await run('reset', one.env).ended).toBe(0);
  expect(existsSync(one.dataDir)).toBe(false);
  endProcess(commands[1].pid, 'SIGINT');
  expect(await commands[1].ended).toBe(0);
});

/** Processes of the Worker's runtime: the one that has the port, and the one that runs the code. */
function runtimesOf(place: Place): { atPort: number; ofCode: number } {
  const all = descendants(processOf(place.dataDir, /group-guard/), 'workerd');
  const isAtPort = (pid: number) => new RegExp(`:${place.port}\\b`).test(commandLine(pid));
  const [atPort = 0, ofCode = 0] = [all.find(isAtPort), all.find((pid) => !isAtPort(pid))];
  return { atPort, ofCode };
}

const write = (place: Place, v: number) =>
  call(place, '/v1/datasets/kept/tables/m/rows', { timestamp: '2026-05-01T10:00:00Z', v });

test('a runtime of the Worker that dies is told of, and replaced by wrangler or, once, with it', async () => {
  const place = await newPlace();
  const command = await started(place);
  expect((await write(place, 1)).status).toBe(202);
  const first = runtimesOf(place);
  endProcess(first.ofCode);
  await command.prints(new RegExp(`process ${first.ofCode}\\) ended; wrangler dev has started another`));
  expect((await write(place, 2)).status).toBe(202);

  const second = runtimesOf(place);
  expect(second.atPort).toBe(first.atPort);
  endProcess(second.atPort);
  await command.prints(new RegExp(`process ${second.atPort}\\) ended`));
  await command.prints(/It is started again[\s\S]*The Worker answers again/);
  const { body } = await call<{ rows: { v: number }[] }>(place, '/v1/datasets/kept/query', { tableName: 'm' });
  expect(body.rows.map(({ v }) => v)).toEqual([1, 2]);

  const third = runtimesOf(place);
  endProcess(third.atPort);
  expect(await command.ended).toBe(1);
  expect(command.output()).toMatch(
    new RegExp(`process ${third.atPort}\\) ended once more, and the Worker does not answer`),
  );
  await expectNothingLeft(place);
});

test.each([
  ['an engine', /redis-server|valkey-server/, /redis: ended by itself/],
  ['the Worker', /^(?!.*group-guard).*wrangler\.js/s, /The Worker \(wrangler dev\) ended by itself/],
])('%s that dies later ends everything, with one clear message', async (_, program, message) => {
  const place = await newPlace();
  const command = await started(place);
  endProcess(processOf(place.dataDir, program));
  expect(await command.ended).toBe(1);
  expect(command.output()).toMatch(message);
  await expectNothingLeft(place);
});
