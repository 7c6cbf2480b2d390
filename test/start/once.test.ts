import { expect, test } from 'vitest';
import { expectNothingLeft, newPlace, run } from './command.ts';

test('npm start -- --once shows the way of a row, its times, and leaves nothing; again on the same state', async () => {
  const place = await newPlace();
  for (const _ of ['new', 'again']) {
    const command = run('start', place.env, ['--once']);
    expect([await command.ended, command.output()]).toEqual([0, expect.any(String)]);
    const output = command.output();
    const shown = [...output.matchAll(/x-timestore-freshness-mode: (\S+)/g)].map(([, mode]) => mode);
    expect(shown).toEqual(['replica+hot-buffer', 'replica-only']);
    expect(output).toMatch(/The manifest in Postgres:[\s\S]*token +0:\d+-\d+:[0-9a-f]{40}/);
    for (const phase of ['install', 'engines', 'migrate', 'worker', 'ready', 'proof', 'stop', 'total']) {
      expect(output).toMatch(new RegExp(`^  ${phase} +\\d+\\.\\d s$`, 'm'));
    }
    await expectNothingLeft(place);
  }
});

test('npm start -- --once --nodes 3 shows the same on a cluster, and rejects options of one server', async () => {
  const place = await newPlace();
  const command = run('start', place.env, ['--once', '--nodes', '3']);
  expect([await command.ended, command.output()]).toEqual([0, expect.stringMatching(/replica-only/)]);
  await expectNothingLeft(place);
  for (const [nodes, said] of [
    ['0', /--nodes must be a number from 1 to 9/],
    ['3', /names an external one/],
  ] as const) {
    const env = { ...place.env, LOCAL_CLICKHOUSE_URL: 'http://a:b@127.0.0.1:9' };
    const refused = run('start', env, ['--once', '--nodes', nodes]);
    expect(await refused.ended).not.toBe(0);
    expect(refused.output()).toMatch(said);
  }
});

test('a reader of its output that ends early leaves nothing running', async () => {
  const place = await newPlace();
  const command = run('start', place.env, ['--once']);
  await command.prints(/clickhouse/);
  command.child.stdout?.destroy();
  command.child.stderr?.destroy();
  await new Promise((resolve) => command.child.once('exit', resolve));
  await expectNothingLeft(place);
});
