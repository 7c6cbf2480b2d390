import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { test } from '../integration/fixtures.ts';
import { useWorker } from '../integration/http/worker.ts';
import { useCli } from './support.ts';

const call = useWorker({ TIMESTORE_KEY_PREFIX: `monitor-cli-${process.pid}` });
const cli = useCli();
const env = () => ({ TIMESTORE_URL: call.url(), TIMESTORE_KEY: 'local-admin' });
const run = (dataset: string, ...args: string[]) => cli.run(['monitor', '--dataset', dataset, ...args], env());

function write(name: string, text: string): string {
  writeFileSync(join(cli.home, name), text);
  return name;
}

const file = `services:
  api:
    label: API
    stack: shop
    statusConfig:
      check: http
      url: https://api.example.com/health
      headers:
        accept: application/json
        authorization:
          secret: API_TOKEN
      interval: 5m
      conditions:
        - "[STATUS] == 200"
        - "[BODY].status == UP"
      degraded:
        - "[RESPONSE_TIME] < 300"
  db:
    interval: 90s
relations:
  api-db:
    sourceServiceId: api
    targetServiceId: db
    relationType: runs_on
rules:
  api.down:
    ruleName: API does not answer, costs $\${MONEY}
    serviceId: api
    condition: failures_in_a_row >=
    threshold: 2
    severity: critical
    notificationChannels:
      - ops
    labels:
      team: a
      zone: b
    escalation:
      - after: 10m
        channels:
          - ops
channels:
  ops:
    kind: slack
    url:
      secret: SLACK_URL
    groupBy:
      - service_id
silences:
  move:
    matchers:
      - label: service_id
        value: db
    from: 2026-05-01T10:00:00Z
    until: 2026-05-01T12:00:00Z
maintenances:
  nightly:
    title: Nightly update
    services:
      - stack:shop
    cron: 30 2 * * *
    duration: 1h
    timeZone: Europe/Berlin
pages:
  shop:
    title: Shop
    components:
      - id: api
        label: API
        services:
          - api
    isPublic: true
slos:
  api:
    serviceId: api
    target: 99.9
`;

test('a file is planned, applied, changed nothing by a repetition, and exported as it was', async ({ dataset }) => {
  const name = write('monitor.yaml', file);
  for (const secret of ['API_TOKEN', 'SLACK_URL']) {
    const set = ['monitor', '--dataset', dataset, 'secrets', 'set', secret];
    expect(await cli.run(set, env(), 'https://hooks.example.com/T0\n')).toMatchObject({ code: 0, stderr: '' });
  }
  const dry = await run(dataset, 'apply', name, '--dry-run');
  expect(dry).toEqual({
    code: 0,
    signal: null,
    stderr: '',
    stdout: `+ service api
+ service db
+ relation api-db
+ rule api.down
+ channel ops
+ silence move
+ maintenance nightly
+ page shop
+ slo api
9 to create, 0 to change, 0 to remove, 0 unchanged
`,
  });
  expect(await run(dataset, 'services', 'list')).toMatchObject({ stdout: '', stderr: 'No results.\n' });
  expect(await run(dataset, 'apply', name)).toMatchObject({ code: 0, stdout: dry.stdout });
  expect(await run(dataset, 'apply', name)).toMatchObject({
    code: 0,
    stdout: '0 to create, 0 to change, 0 to remove, 9 unchanged\n',
    stderr: '',
  });
  expect(await run(dataset, 'export')).toEqual({ code: 0, signal: null, stdout: file, stderr: '' });
});

test('a plan names changed members, pruned resources, and secrets without their values', async ({ dataset }) => {
  const channel = `channels:\n  ops: { kind: slack, url: "\${HOOK}" }\n`;
  const first = write('first.yaml', `services:\n  a: { label: A }\n  b: {}\n${channel}`);
  const one = write('one.env', 'HOOK=https://hooks.example.com/value-one\nUNUSED=value-unused\n');
  const two = write('two.env', '# changed\nHOOK="https://hooks.example.com/value-two"\n');
  const begun = await run(dataset, 'apply', first, '--secrets', one);
  expect(begun).toMatchObject({ code: 0, stderr: 'Applied; revision 1.\n' });
  const second = write('second.yaml', `services:\n  a: { label: B, stack: s }\n${channel}`);
  const planned = await run(dataset, 'apply', second, '--secrets', two, '--prune');
  expect(planned.stdout).toBe(`~ secret HOOK
~ service a
    label: A → B
    stack:  → s
- service b
0 to create, 2 to change, 1 to remove, 1 unchanged
`);
  const listed = await run(dataset, 'secrets', 'list', '--json');
  expect((JSON.parse(listed.stdout) as { name: string }[]).map(({ name }) => name)).toEqual(['HOOK']);
  const exported = await run(dataset, 'export');
  const shown = [begun, planned, listed, exported].map(({ stdout, stderr }) => stdout + stderr).join('');
  expect(shown).not.toContain('value-');
  // A file that names the secret needs no file of secrets.
  const again = write('again.yaml', exported.stdout);
  expect((await run(dataset, 'apply', again)).stdout).toBe('0 to create, 0 to change, 0 to remove, 2 unchanged\n');
});

test('a part of a text that is secret makes the whole text a secret', async ({ dataset }) => {
  const name = write(
    'part.yaml',
    `services:\n  a:\n    statusConfig:\n      check: http\n      url: https://x.example.com/\${PART}\n      headers: { x-key: "Bearer \${PART}" }\n`,
  );
  const secrets = write('part.env', `PART=value-part$\${X}\n`);
  expect(await run(dataset, 'apply', name, '--secrets', secrets)).toMatchObject({ code: 0 });
  const { stdout } = await run(dataset, 'export');
  expect(stdout).toBe(
    'services:\n  a:\n    statusConfig:\n      check: http\n      url:\n        secret: service.a.url\n      headers:\n        x-key:\n          secret: service.a.header-x-key\n',
  );
  expect((await run(dataset, 'apply', name, '--secrets', secrets)).stdout).toContain('0 to change');
});

test('every problem of a file has its line and column, also those that the deployment finds', async ({ dataset }) => {
  const name = write(
    'wrong.yaml',
    `services:
  a:
    label: [A]
    staack: s
    statusConfig: { check: http, url: "https://x.example.com/\${NOT_THERE}" }
  b: { label: "\${NOT_THERE}" }
  "c d": {}
rule: {}
`,
  );
  const wrong = await run(dataset, 'apply', name);
  expect({ code: wrong.code, stdout: wrong.stdout }).toEqual({ code: 1, stdout: '' });
  const lines = wrong.stderr.trimEnd().split('\n');
  expect(lines).toEqual([
    'wrong.yaml:8:1: unknown collection rule; expected services, relations, rules, channels, silences, maintenances, pages, slos',
    `wrong.yaml:5:39: \${NOT_THERE} is not in the file of --secrets`,
    expect.stringMatching(/^wrong\.yaml:3:5: service a: label: Invalid input/),
    expect.stringMatching(/^wrong\.yaml:4:13: service a: Unrecognized key: "staack"/),
    'wrong.yaml:6:15: a secret cannot stand here, because answers show this member',
    expect.stringMatching(/^wrong\.yaml:7:3: id "c d": 1 to 128 letters/),
  ]);
  const broken = write('broken.yaml', 'services:\n  a: {label: A\n  b: {}\n');
  expect(await run(dataset, 'lint', broken)).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^broken\.yaml:3:/),
  });
  const twice = write('twice.yaml', 'services:\n  a: {}\n');
  expect(await run(dataset, 'lint', twice, write('more.yaml', 'services:\n  # again\n  a: {}\n'))).toMatchObject({
    code: 1,
    stderr: 'more.yaml:3:3: service a is defined twice, first at twice.yaml:2:3\n',
  });
  const dangling = write(
    'dangling.yaml',
    'slos:\n  a.b:\n    target: 99\n    serviceId: nothing\nchannels:\n  c:\n    kind: slack\n    url: http://10.0.0.1/T0\n',
  );
  const refused = await run(dataset, 'apply', dangling);
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr).toContain('dangling.yaml:4:16: Service nothing does not exist\n');
  expect(refused.stderr).toMatch(/dangling\.yaml:8:10: it must begin with https/);
  expect(refused.stderr).not.toContain('T0');
  const linted = await run(dataset, 'lint', dangling);
  expect(linted.stderr).toBe('dangling.yaml:4:16: slo a.b: serviceId: the files have no service nothing\n');
});

test('lint finds a cycle without a deployment', async () => {
  const relation = (source: string, target: string) => `{ sourceServiceId: ${source}, targetServiceId: ${target} }`;
  const name = write(
    'cycle.yaml',
    `services: { a: {}, b: {} }\nrelations:\n  ab: ${relation('a', 'b')}\n  ba: ${relation('b', 'a')}\n`,
  );
  expect(await cli.run(['monitor', 'lint', name])).toMatchObject({
    code: 1,
    stderr: 'cycle.yaml:3:3: the relations have a cycle: a → b → a\n',
  });
  const fine = write('fine.yaml', 'x-all: &all { stack: s }\nservices:\n  a: *all\n  b:\n    <<: *all\n    label: B\n');
  expect(await cli.run(['monitor', 'lint', fine])).toMatchObject({ code: 0, stderr: '2 resources, no problems.\n' });
});

test('single resources are listed, shown and removed', async ({ dataset }) => {
  await run(dataset, 'apply', write('s.yaml', 'services:\n  a: { label: A, stack: s }\n  b: {}\n'));
  expect((await run(dataset, 'services')).stdout).toMatch(/ id +│ label .*stack[\s\S]* a +│ A +│ s /);
  expect((await run(dataset, 'services', 'show', 'a')).stdout).toMatch(/^label +A$/m);
  expect(await run(dataset, 'services', 'remove', 'b')).toMatchObject({ code: 2 });
  expect(await run(dataset, 'services', 'remove', 'b', '--yes')).toMatchObject({ code: 0, stderr: 'Deleted b.\n' });
  expect(await run(dataset, 'services', 'show', 'b')).toMatchObject({ code: 1 });
});
