import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { metrics } from '../../src/core/metrics.ts';

const file = (name: string) => readFileSync(join(import.meta.dirname, '..', '..', 'src', 'telemetry', name), 'utf8');
const named = (text: string) =>
  new Set([...text.matchAll(/\btimestore_[a-z_]+/g)].map(([name]) => name.replace(/_(?:bucket|sum|count)$/, '')));

const alerts = file('alerts.yaml');
const dashboard = file('dashboard.json');

describe('what watches the metrics', () => {
  test.each([
    ['alert rules', alerts],
    ['the dashboard', dashboard],
  ])('%s name metrics that there are', (_, text) => {
    expect(named(text).size).toBeGreaterThan(0);
    expect([...named(text)].filter((name) => !(name in metrics))).toEqual([]);
  });

  test('every metric is shown on the dashboard', () => {
    expect(Object.keys(metrics).filter((name) => !named(dashboard).has(name))).toEqual([]);
  });

  test('the dashboard is whole: every panel asks for something, and none lies over another', () => {
    const { panels } = JSON.parse(dashboard) as {
      panels: { title: string; targets: { expr: string }[]; gridPos: { x: number; y: number } }[];
    };
    const places = panels.map(({ gridPos: { x, y } }) => `${x} ${y}`);
    expect(new Set(places).size).toBe(panels.length);
    expect(panels.every(({ title, targets }) => title !== '' && targets.length > 0)).toBe(true);
  });

  test('every alert has a runbook, and every runbook of an alert is there', () => {
    const rules = alerts.split(/- alert: /).slice(1);
    expect(rules.length).toBeGreaterThan(10);
    const headings = [...file('runbooks.md').matchAll(/^## (.+)$/gm)].map(([, title = '']) =>
      title.toLowerCase().replaceAll(' ', '-'),
    );
    for (const rule of rules) {
      const [, anchor = ''] = /runbook: "runbooks\.md#([a-z-]+)"/.exec(rule) ?? [];
      expect(headings, rule.split('\n')[0]).toContain(anchor);
      expect(rule).toMatch(/expr: /);
      expect(rule).toMatch(/severity: (?:page|ticket)/);
    }
  });
});
