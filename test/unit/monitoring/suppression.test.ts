import { describe, expect, test } from 'vitest';
import type { AlertInstance } from '../../../src/monitoring/alerts/instance.ts';
import { normalInstance } from '../../../src/monitoring/alerts/state-machine.ts';
import {
  byService,
  countDependents,
  needsOf,
  type Situation,
  suppressedBy,
} from '../../../src/monitoring/alerts/suppression.ts';
import { relationDefinition } from '../../../src/monitoring/resources/relation.ts';
import { type Rule, ruleDefinition, type Severity } from '../../../src/monitoring/resources/rule.ts';
import { serviceDefinition } from '../../../src/monitoring/resources/service.ts';

const minute_ms = 60_000;
/** When the services began to fail. */
const T = 100 * minute_ms;

function relation(sourceServiceId: string, targetServiceId: string, some: object = {}) {
  return relationDefinition.parse({ sourceServiceId, targetServiceId, ...some });
}

/** web needs api, which needs db. */
const needs = needsOf([relation('web', 'api'), relation('api', 'db')]);
const ids = ['web', 'api', 'db'];
const services = new Map(
  ids.map((serviceId) => [serviceId, { ...serviceDefinition.parse({ interval: '1m' }), serviceId }]),
);

function ruleOf(serviceId: string, severity: Severity = 'error'): Rule {
  const definition = { ruleName: serviceId, serviceId, condition: 'failures_in_a_row >=', threshold: 1, severity };
  return { ...ruleDefinition.parse(definition), ruleId: serviceId, revision: 1, actor: 'admin' };
}

const rules = new Map(ids.map((id) => [id, ruleOf(id)]));

function alert(serviceId: string, state: 'pending' | 'firing' | 'recovering' = 'firing', at_ms = T): AlertInstance {
  const machine = {
    ...normalInstance(1, 1),
    state,
    startsAt_ms: at_ms,
    firedAt_ms: state === 'pending' ? null : at_ms,
  };
  return { ruleId: serviceId, fingerprint: 'f', serviceId, labels: {}, machine, told: {} };
}

/** @param rows newest row of a service: its minute after T, and whether it failed */
function situation(
  at: number,
  instances: AlertInstance[],
  rows: Record<string, [number, boolean]>,
  some: Partial<Situation> = {},
) {
  const newest = Object.entries(rows).map(([id, [minute, isFailed]]) => {
    return [id, { at_ms: T + minute * minute_ms, isFailed }] as const;
  });
  const base: Situation = {
    at_ms: T + at * minute_ms,
    services,
    rules,
    needs,
    instances: byService(instances),
    dependents: countDependents({ needs, instances: byService(instances) }),
    newest: new Map(newest),
    lastFailed_ms: new Map(),
  };
  return { ...base, ...some };
}

const causeOf = (serviceId: string, given: Situation, rule = ruleOf(serviceId)) => {
  const found = given.instances.get(serviceId)?.[0];
  return found && suppressedBy(found, rule, given);
};

describe('an alert is explained by a service that it needs', () => {
  test('when all fail at once: the last one of the chain has two others behind it', () => {
    const failed: [number, boolean] = [0, true];
    const given = situation(
      0,
      ids.map((id) => alert(id)),
      { web: failed, api: failed, db: failed },
    );
    expect(causeOf('web', given)).toBeDefined();
    expect(causeOf('api', given)).toBe('db');
    expect(causeOf('db', given)).toBeUndefined();
    expect(given.dependents.get('db')).toBe(2);
    expect(given.dependents.get('web')).toBeUndefined();
  });

  test('through a service that works', () => {
    const given = situation(0, [alert('web'), alert('db')], { web: [0, true], api: [0, false], db: [0, true] });
    expect(causeOf('web', given)).toBe('db');
  });

  test('when its rows fail and it has no alert', () => {
    expect(causeOf('web', situation(0, [alert('web')], { api: [0, true], db: [0, false] }))).toBe('api');
  });

  test('not when its alert is less severe', () => {
    const warning = new Map([...rules, ['db', ruleOf('db', 'warning')] as const]);
    const rows: Record<string, [number, boolean]> = { api: [0, false], db: [0, false] };
    const given = situation(0, [alert('web'), alert('db')], rows, { rules: warning });
    expect(causeOf('web', given)).toBeUndefined();
    expect(causeOf('web', given, ruleOf('web', 'warning'))).toBe('db');
  });

  test('not through a relation or a service that is disabled', () => {
    const rows: Record<string, [number, boolean]> = { api: [0, true], db: [0, true] };
    const without = needsOf([relation('web', 'api', { enabled: false })]);
    expect(causeOf('web', situation(0, [alert('web')], rows, { needs: without }))).toBeUndefined();
    const disabled = new Map([...services].map(([id, each]) => [id, { ...each, enabled: id === 'web' }]));
    expect(causeOf('web', situation(0, [alert('web')], rows, { services: disabled }))).toBeUndefined();
  });
});

describe('a service that fails first', () => {
  const web = alert('web');

  test('waits until those that it needs have been checked', () => {
    expect(causeOf('web', situation(0, [web], { api: [-1, false], db: [-1, false] }))).toBeDefined();
    expect(causeOf('web', situation(0.5, [web], { api: [0.5, false], db: [-1, false] }))).toBe('db');
    expect(causeOf('web', situation(0.5, [web], { api: [0.5, false], db: [0.5, false] }))).toBeUndefined();
  });

  test('waits for one whose alert is pending, an interval at most', () => {
    const rows: Record<string, [number, boolean]> = { api: [0, false], db: [0, false] };
    const instances = [web, alert('db', 'pending')];
    expect(causeOf('web', situation(0.9, instances, rows))).toBe('db');
    expect(causeOf('web', situation(1, instances, rows))).toBeUndefined();
  });
});

test('after a recovery, a service that still fails is notified two intervals later, and services behind it are not', () => {
  const lastFailed_ms = new Map([['db', T + 9 * minute_ms]]);
  const instances = [alert('web'), alert('api')];
  const at = (minute: number) => {
    return situation(
      minute,
      instances,
      { web: [minute, true], api: [minute, true], db: [minute, false] },
      { lastFailed_ms },
    );
  };
  // The first row that is ok is of minute 10.
  expect(causeOf('api', at(10))).toBe('db');
  expect(causeOf('api', at(11.9))).toBe('db');
  expect(causeOf('api', at(12))).toBeUndefined();
  expect(causeOf('web', at(12))).toBe('api');
});

test('services that need each other do not wait for themselves', () => {
  const circle = needsOf([relation('web', 'api'), relation('api', 'web')]);
  expect(circle.get('web')).toEqual(new Set(['api']));
  expect(circle.get('api')).toEqual(new Set(['web']));
});

test('a part needs no whole, and a service needs what it runs on', () => {
  const found = needsOf([
    relation('web', 'shop', { relationType: 'part_of' }),
    relation('web', 'host', { relationType: 'runs_on' }),
  ]);
  expect([...found]).toEqual([['web', new Set(['host'])]]);
});
