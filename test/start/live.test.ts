import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { connect } from '../../local/api.ts';
import { local } from '../../local/engines/credentials.ts';
import { descendants } from '../../local/process-tree.ts';
import { portsFrom } from '../../local/stack.ts';
import { until } from '../local/support.ts';
import { call, endProcess, expectNothingLeft, metricRows, newPlace, type Place, processOf, run } from './command.ts';

/** Up to where it has printed everything and goes on collecting. */
async function started(place: Place) {
  const command = run('start', place.env);
  await command.prints(/Ctrl-C stops everything/);
  return command;
}

test('killed outright it leaves nothing, the next start has every acknowledged row, and ends with an engine that dies', async () => {
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
  endProcess(processOf(place.dataDir, /redis-server|valkey-server/));
  expect(await again.ended).toBe(1);
  expect(again.output()).toMatch(/redis: ended unexpectedly/);
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

const programOf = (place: Place): number => processOf(place.dataDir, /^(?!.*group-guard).*worker-program/s);

const write = (place: Place, v: number) =>
  call(place, '/v1/datasets/kept/tables/m/rows', { timestamp: '2026-05-01T10:00:00Z', v });

test('a runtime of the Worker that dies is replaced, and the Worker itself is started once more', async () => {
  const place = await newPlace();
  const command = await started(place);
  expect((await write(place, 1)).status).toBe(202);
  const [runtime = 0] = descendants(programOf(place), 'workerd');
  endProcess(runtime);
  await command.prints(new RegExp(`process ${runtime}\\) ended; a new one answers`));
  expect((await write(place, 2)).status).toBe(202);

  endProcess(programOf(place));
  await command.prints(/The Worker ended unexpectedly and is restarted[\s\S]*The Worker answers again/);
  const { body } = await call<{ rows: { v: number }[] }>(place, '/v1/datasets/kept/query', { tableName: 'm' });
  expect(body.rows.map(({ v }) => v)).toEqual([1, 2]);

  endProcess(programOf(place));
  expect(await command.ended).toBe(1);
  expect(command.output()).toMatch(/The Worker ended unexpectedly again\. Start again; the data is kept/);
  await expectNothingLeft(place);
});

test('its clock reaches the Worker, and a query whose client has left is cancelled', async () => {
  const place = await newPlace();
  const command = await started(place);
  const { fireCron } = connect(`http://127.0.0.1:${place.port}`, new AbortController().signal);
  expect((await fireCron('* * * * *')).status).toBe(200);
  const { user, password } = local.clickhouse.writer;
  const running = async (): Promise<number> => {
    const counted =
      "SELECT count() FROM system.processes WHERE query LIKE '%AS left_alone%' AND query NOT LIKE '%processes%'";
    const answer = await fetch(
      `http://127.0.0.1:${portsFrom(place.base).clickhouseHttp}/?query=${encodeURIComponent(counted)}`,
      {
        headers: { 'x-clickhouse-user': user, 'x-clickhouse-key': password },
      },
    );
    return Number(await answer.text());
  };
  const leaving = new AbortController();
  const sql =
    'SELECT count() AS left_alone FROM numbers(1000000000) AS p, numbers(1000000000) AS q WHERE p.number % 7 = q.number';
  const asked = fetch(`http://127.0.0.1:${place.port}/v1/sql`, {
    method: 'POST',
    body: JSON.stringify({ sql }),
    signal: leaving.signal,
    headers: { authorization: 'Bearer local-admin', 'content-type': 'application/json' },
  });
  asked.catch(() => undefined);
  await expect.poll(running).toBe(1);
  leaving.abort();
  await expect.poll(running, { timeout: 15_000, interval: 20 }).toBe(0);
  endProcess(command.pid, 'SIGTERM');
  expect(await command.ended).toBe(0);
});
