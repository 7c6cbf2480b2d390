import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { loadSet } from '../../../src/cli/monitor/load.ts';
import { withoutDefaults, yamlOf } from '../../../src/cli/monitor/yaml-text.ts';
import { planChanges, type WantedResource } from '../../../src/monitoring/changes/plan.ts';
import type { Stored } from '../../../src/monitoring/changes/stored.ts';
import { collections, definitions, type Kind, kinds } from '../../../src/monitoring/resources/kinds.ts';

const folder = mkdtempSync(join(tmpdir(), 'timestore-export-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const text = fc.oneof(
  fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' }),
  fc.constantFrom(
    `\${NAME}`,
    '$${NAME}',
    'a: b # c',
    '- x',
    '"',
    "'",
    'null',
    'true',
    '12',
    '1e3',
    ' x ',
    'a\nb\n',
    '*x',
    '~',
  ),
);
const id = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,12}$/);
const duration = fc.constantFrom('1m', '90s', '5m', '1h', '2h30m');
const members = (more: Record<string, fc.Arbitrary<unknown>>, required: Record<string, fc.Arbitrary<unknown>> = {}) =>
  fc.record({ ...more, ...required }, { requiredKeys: Object.keys(required) });
const secret = fc.oneof(
  fc.constant('https://x.example.com/a?token=abc'),
  fc.constant('https://x.example.com/a'),
  fc.record({ secret: fc.constantFrom('OWN', 'channel.a.url') }),
);
const headers = fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9-]{0,6}$/), fc.constantFrom('a b', 'x'), { maxKeys: 3 });
const labels = fc.dictionary(fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,6}$/), text, { maxKeys: 3 });

const anyOf: Record<Kind, fc.Arbitrary<unknown>> = {
  service: members({
    label: text,
    stack: text,
    interval: duration,
    enabled: fc.boolean(),
    metricConfig: fc.dictionary(id, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 2 }),
    statusConfig: fc.oneof(
      fc.constant(null),
      members(
        {
          headers,
          interval: duration,
          attempts: fc.integer({ min: 1, max: 5 }),
          conditions: fc.array(text),
          body: text,
        },
        { check: fc.constant('http'), url: secret },
      ),
      members({ grace: duration }, { check: fc.constant('heartbeat'), period: duration }),
      members({ port: fc.constantFrom(443, 8443) }, { check: fc.constant('certificate'), host: id }),
    ),
  }),
  relation: members(
    { relationType: fc.constantFrom('depends_on', 'runs_on', 'part_of'), enabled: fc.boolean() },
    { sourceServiceId: id, targetServiceId: id },
  ),
  rule: members(
    {
      severity: fc.constantFrom('critical', 'error', 'info'),
      for: duration,
      labels,
      annotations: labels,
      notificationChannels: fc.array(id, { maxLength: 3 }),
      resolveThreshold: fc.double({ noNaN: true, noDefaultInfinity: true }),
      escalation: fc.array(fc.record({ after: duration, channels: fc.array(id, { minLength: 1, maxLength: 2 }) }), {
        maxLength: 2,
      }),
    },
    { ruleName: text, serviceId: id, condition: text, threshold: fc.double({ noNaN: true, noDefaultInfinity: true }) },
  ),
  channel: fc.oneof(
    members({ headers, signingSecret: fc.constant({ secret: 'OWN' }) }, { kind: fc.constant('webhook'), url: secret }),
    members({ groupBy: fc.array(id, { maxLength: 3 }) }, { kind: fc.constant('pagerduty'), routingKey: text }),
    members(
      { body: fc.jsonValue({ maxDepth: 2 }) },
      { kind: fc.constant('email'), url: secret, from: text, to: fc.tuple(text) },
    ),
  ),
  silence: members(
    { comment: text },
    {
      matchers: fc.array(members({ op: fc.constantFrom('=', '!~') }, { label: text, value: text }), {
        minLength: 1,
        maxLength: 2,
      }),
      from: fc.constant('2026-05-01T10:00:00Z'),
      until: fc.constant('2026-05-01T12:00:00+02:00'),
    },
  ).map((each) => ({ ...each, until: '2026-05-02T12:00:00+02:00' })),
  maintenance: members(
    { isPublic: fc.boolean() },
    {
      title: text,
      services: fc.array(id, { minLength: 1, maxLength: 3 }),
      cron: fc.constant('30 2 * * *'),
      duration,
      timeZone: fc.constant('Europe/Berlin'),
    },
  ),
  page: members(
    { description: text, isPublic: fc.boolean() },
    {
      title: text,
      components: fc.array(members({ group: text }, { id, label: text, services: fc.tuple(id) }), { maxLength: 2 }),
    },
  ),
  slo: members(
    {
      window: fc.constantFrom('7d', '30d'),
      indicator: fc.oneof(
        members({ degradedIsGood: fc.boolean() }, { kind: fc.constant('availability') }),
        fc.record({ kind: fc.constant('latency'), below_ms: fc.integer({ min: 1, max: 1_000 }) }),
      ),
    },
    { serviceId: id, target: fc.constantFrom(99, 99.9, 99.99) },
  ),
};

const resources = fc.uniqueArray(
  fc.constantFrom(...kinds).chain((kind) => fc.record({ kind: fc.constant(kind), id, definition: anyOf[kind] })),
  { maxLength: 8, selector: (each) => `${each.kind}/${each.id}` },
);

/** As a column of type jsonb returns it: members in another order. */
function fromColumn<Value>(value: Value): Value {
  if (Array.isArray(value)) return value.map(fromColumn) as Value;
  if (typeof value !== 'object' || value === null) return value;
  const sorted = Object.entries(value).sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1));
  return Object.fromEntries(sorted.map(([name, each]) => [name, fromColumn(each)])) as Value;
}

const wanted = (kind: Kind, name: string, definition: unknown): WantedResource => ({
  kind,
  id: name,
  definition: definitions[kind].parse(definition),
});

test('an export that is applied changes nothing, whatever is exported', async () => {
  const empty: Stored = {
    revision: 0,
    resources: new Map(),
    secrets: new Map([
      ['OWN', 'x'],
      ['channel.a.url', 'y'],
    ]),
  };
  let exported = 0;
  await fc.assert(
    fc.asyncProperty(resources, async (set) => {
      const valid = set.filter(({ kind, definition }) => definitions[kind].safeParse(definition).success);
      const first = planChanges(empty, {
        resources: valid.map(({ kind, id: name, definition }) => wanted(kind, name, definition)),
        secrets: new Map(),
      });
      const stored: Stored = { revision: 1, ...first.next, resources: fromColumnMap(first.next.resources) };
      const yaml = yamlOf([...stored.resources.values()]);
      exported += stored.resources.size;
      const file = join(folder, 'export.yaml');
      writeFileSync(file, yaml);
      const loaded = await loadSet([file], {});
      const again = kinds.flatMap((kind) =>
        Object.entries(loaded.resources[collections[kind]] ?? {}).map(([name, each]) => wanted(kind, name, each)),
      );
      expect(again).toHaveLength(stored.resources.size);
      expect(loaded.secrets).toEqual(new Map());
      expect(planChanges(stored, { resources: again, secrets: new Map() }).changes).toEqual([]);
      // The text has one form.
      expect(yamlOf(again.map((each) => ({ ...each, definition: each.definition ?? {} })))).toBe(yaml);
    }),
    { numRuns: 120 },
  );
  expect(exported).toBeGreaterThan(120);
});

function fromColumnMap(map: Stored['resources']): Stored['resources'] {
  return new Map([...map].map(([key, each]) => [key, { ...each, definition: fromColumn(each.definition) }]));
}

test('members with their default are left out, nested ones too, and nothing else', () => {
  const check = { check: 'http', url: 'https://x.example.com/', timeout: '10s', attempts: 3, headers: {} };
  const service = { label: 'A', stack: '', enabled: true, statusConfig: check, metricConfig: { enabled: true } };
  expect(withoutDefaults('service', service)).toEqual({
    label: 'A',
    statusConfig: { check: 'http', url: 'https://x.example.com/', attempts: 3 },
    metricConfig: { enabled: true },
  });
});
