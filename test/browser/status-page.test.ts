import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { useWorker } from '../integration/http/worker.ts';
import { createStatusTable, flushStatus, sendStatus } from '../integration/monitoring/status-rows.ts';
import { newDataset, newInstance } from '../integration/support.ts';
import { browser, Chromium, type View } from './chromium.ts';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** A folder for pictures of the pages, for whoever wants to look at them. */
const pictures = process.env.STATUS_PAGE_PICTURES;

const hour_ms = 3_600_000;
const prefix = `status-${process.pid}`;

const views: View[] = [
  { width: 1_280, height: 900, scheme: 'light' },
  { width: 1_280, height: 900, scheme: 'dark' },
  { width: 360, height: 740, scheme: 'light' },
  { width: 360, height: 740, scheme: 'dark' },
];

/** Values of the configuration that no form of a page may contain. */
const privateTexts = {
  stack: 'stack-of-payments',
  type: 'type-of-database',
  url: 'https://internal-host.example.com/private/path?token=abcdef',
  host: 'db-internal.example.com',
  message: 'connect ECONNREFUSED 10.1.2.3:5432',
  rule: 'rule-name-for-the-team',
  channel: 'https://hooks.example.com/services/T000/B000',
  source: 'service-id-',
};

describe.skipIf(browser === undefined)('a status page', () => {
  const call = useWorker({ TIMESTORE_KEY_PREFIX: prefix });
  const dataset = newDataset();
  let chromium: Chromium;

  const put = async (path: string, definition: object) => {
    const answer = await call(`/v1/monitor/${path}?dataset=${dataset}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(definition),
    });
    expect([200, 201], await answer.clone().text()).toContain(answer.status);
  };

  beforeAll(async () => {
    chromium = await Chromium.start();
    const ctx = newInstance({ TIMESTORE_KEY_PREFIX: prefix });
    await createStatusTable(ctx, dataset);
    const now_ms = Date.now();
    const services = ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => `${privateTexts.source}${letter}`);
    const check = { check: 'http', url: privateTexts.url, interval: '1h' };
    for (const [n, id] of services.entries()) {
      const statusConfig = n === 0 ? check : null;
      const { stack, type: serviceType } = privateTexts;
      await put(`services/${id}`, { label: privateTexts.host, stack, serviceType, statusConfig, interval: '1h' });
    }
    await put('channels/team', { kind: 'webhook', url: privateTexts.channel });
    await put('rules/down', {
      ruleName: privateTexts.rule,
      serviceId: services[0],
      condition: 'failures_in_a_row >=',
      threshold: 2,
      notificationChannels: ['team'],
    });
    const components = [
      { id: 'web', label: 'Shop', services: [services[0]] },
      { id: 'api', label: 'API for partners', services: [services[1]] },
      { id: 'pay', label: 'Payments', group: 'Checkout', services: [services[2]] },
      {
        id: 'long',
        label:
          'A component with a label that is far longer than a line of a phone, and Donaudampfschifffahrtsgesellschaft',
        group: 'Checkout',
        services: [services[3]],
      },
      { id: 'search', label: 'Search', group: 'Catalogue', services: [services[4]] },
      { id: 'never', label: 'Newsletter', group: 'Catalogue', services: [services[5]] },
    ];
    const description = 'The shop, its checkout and what partners use.';
    await put('pages/shop', {
      title: 'Example shop',
      description,
      components,
      isPublic: true,
      showAutomaticIncidents: true,
    });
    await put('pages/empty', { title: 'Nothing here yet', components: [], isPublic: true });
    await put('pages/hidden', { title: 'Hidden', components: [], isPublic: false });
    const many = Array.from({ length: 60 }, (_, n) => ({
      id: `c${n}`,
      label: `Component ${n}`,
      services: [services[n % 5]],
    }));
    await put('pages/many', { title: 'Many components', components: many, isPublic: true });
    const time = (at_ms: number) => new Date(at_ms).toISOString();
    await put('maintenances/planned', {
      title: 'Move of the catalogue to new disks',
      services: [services[4]],
      from: time(now_ms + 20 * hour_ms),
      until: time(now_ms + 22 * hour_ms),
    });
    await put('maintenances/running', {
      title: 'Update of the search index',
      services: [services[4]],
      from: time(now_ms - 26 * hour_ms),
      until: time(now_ms + 2 * hour_ms),
    });
    const codeOf = (n: number, hours: number) => {
      if (n === 3) return hours === 0 ? 1 : hours % 700 === 3 ? 2 : 0;
      if (n === 1) return hours < 3 || (hours > 600 && hours < 640) ? 2 : 0;
      return n === 2 && hours % 331 === 0 ? 2 : 0;
    };
    const rows = services.slice(0, 5).flatMap((service_id, n) =>
      Array.from({ length: n === 2 ? 900 : 2_200 }, (_, hours) => ({
        service_id,
        timestamp: time(now_ms - hours * hour_ms - 60_000),
        status_code: codeOf(n, hours + (n === 2 ? 1 : 0)),
        message: privateTexts.message,
        response_time_ms: 20 + (hours % 7),
      })),
    );
    await sendStatus(ctx, dataset, rows.slice(10));
    await flushStatus(ctx, dataset);
    await sendStatus(ctx, dataset, rows.slice(0, 10));
    const common = { buffer: prefix, dataset, service: services[1] };
    const incident = `insert into incidents (buffer, dataset, id, title, impact, status, root_service, is_automatic, is_public, opened_at, resolved_at)
      values ($buffer, $dataset, $id, $title, $impact, $status, $service, $isAutomatic, $isPublic, now() - $age * interval '1 hour', now() - $end * interval '1 hour')`;
    const update = `insert into incident_updates (buffer, dataset, incident, n, at, status, body, actor)
      values ($buffer, $dataset, $incident, $n, now() - $age * interval '1 hour', $status, $body, $actor)`;
    const open = {
      id: 'auto-1',
      title: privateTexts.rule,
      impact: 'major',
      status: 'identified',
      isAutomatic: true,
      isPublic: false,
      age: 3,
      end: null,
    };
    await ctx.postgres.rows(incident, { ...common, ...open });
    const past = {
      id: 'manual-1',
      title: 'Slow answers of the API',
      impact: 'minor',
      status: 'resolved',
      isAutomatic: false,
      isPublic: true,
      age: 620,
      end: 600,
    };
    await ctx.postgres.rows(incident, { ...common, ...past });
    const draft = { ...past, id: 'draft', title: 'A draft that is not public', isPublic: false };
    await ctx.postgres.rows(incident, { ...common, ...draft });
    const updates = [
      { incident: 'auto-1', n: 1, age: 3, status: 'investigating', body: privateTexts.message, actor: 'cron' },
      {
        incident: 'auto-1',
        n: 2,
        age: 2,
        status: 'identified',
        body: 'A network link is broken. Our provider works on it.',
        actor: 'key-of-a-person',
      },
      {
        incident: 'manual-1',
        n: 1,
        age: 620,
        status: 'investigating',
        body: 'Requests take several seconds.',
        actor: 'key-of-a-person',
      },
      {
        incident: 'manual-1',
        n: 2,
        age: 600,
        status: 'resolved',
        body: 'A new index helps.',
        actor: 'key-of-a-person',
      },
    ];
    for (const each of updates) {
      const { incident: of, ...rest } = each;
      await ctx.postgres.rows(update, { buffer: prefix, dataset, incident: of, ...rest });
    }
  }, 120_000);
  afterAll(async () => await chromium.stop());

  const path = (slug: string) => `/status/${dataset}/${slug}`;
  const open = (address: string) => call(address, { key: null });

  test.each(['shop', 'empty', 'many'])(
    '%s is accessible in both colour schemes, on a desktop and on a phone',
    async (slug) => {
      for (const view of views) {
        await chromium.show(`${call.url()}${path(slug)}`, view);
        if (pictures !== undefined) {
          writeFileSync(join(pictures, `${slug}-${view.width}-${view.scheme}.png`), await chromium.picture());
        }
        await chromium.evaluate(axe);
        const violations = await chromium.evaluate(
          "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html, failureSummary }) => html + ' ' + failureSummary) })))",
        );
        expect(violations).toEqual([]);
        expect(await chromium.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
      }
      expect(chromium.complaints).toEqual([]);
    },
  );

  test('shows components, incidents and maintenance with their texts', async () => {
    await chromium.show(`${call.url()}${path('shop')}`, views[0] as View);
    const text = String(await chromium.evaluate('document.body.innerText'));
    for (const expected of [
      'Partial outage',
      'API for partners\nMajor outage',
      'Search\nMaintenance',
      'Newsletter\nNo recent data',
      'Degraded performance',
      'Problem with API for partners',
      'A problem was detected.',
      'A network link is broken. Our provider works on it.',
      'Slow answers of the API',
      'Update of the search index',
    ]) {
      expect(text).toContain(expected);
    }
    expect(text).not.toContain('draft');
    expect(await chromium.evaluate("document.querySelectorAll('svg.bars').length")).toBe(6);
    expect(await chromium.evaluate("document.querySelector('svg.bars').getAttribute('aria-label')")).toMatch(
      /^Shop: 100\.00% available in the last 90 days, no day with a failure/,
    );
  });

  const forms = [
    '',
    ...['summary', 'status', 'components', 'incidents', 'scheduled-maintenances'].map((name) => `/api/v2/${name}.json`),
    '/feed.rss',
    '/feed.atom',
    '/feed.json',
    '/badge/web.svg',
    '/badge/api.json',
    '/icon.svg',
  ];

  test('has forms for programs, which may be cached and need no key', async () => {
    for (const form of forms) {
      const answer = await open(`${path('shop')}${form}`);
      expect(answer.status, form).toBe(200);
      expect(answer.headers.get('cache-control')).toBe(
        'public, max-age=30, stale-while-revalidate=300, stale-if-error=86400',
      );
      expect(answer.headers.get('set-cookie')).toBeNull();
    }
    const policy = (await open(path('shop'))).headers.get('content-security-policy');
    expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-/);
    const summary = (await (await open(`${path('shop')}/api/v2/summary.json`)).json()) as Record<string, unknown>;
    expect(summary).toMatchObject({
      status: { indicator: 'major', description: 'Partial outage' },
      incidents: [{ name: 'Problem with API for partners', components: [{ id: 'api', status: 'major_outage' }] }],
      scheduled_maintenances: [{ status: 'in_progress' }, { status: 'scheduled' }],
    });
    expect(await (await open(`${path('shop')}/badge/api.json`)).json()).toMatchObject({
      label: 'API for partners',
      color: 'red',
    });
    expect((await open(`${path('shop')}/badge/absent.svg`)).status).toBe(404);
  });

  test('that is not public looks like one that does not exist, without a key that reads its dataset', async () => {
    const [hidden, missing] = [await open(path('hidden')), await open(path('missing'))];
    expect([hidden.status, missing.status]).toEqual([404, 404]);
    const detail = async (answer: Response) => ((await answer.json()) as { detail: string }).detail;
    expect((await detail(hidden)).replace('hidden', '')).toBe((await detail(missing)).replace('missing', ''));
    const seen = await call(path('hidden'));
    expect([seen.status, seen.headers.get('cache-control')]).toEqual([200, 'private, no-store']);
  });

  describe('while stores are stopped', () => {
    const gone = {
      CLICKHOUSE_URL: 'http://127.0.0.1:9',
      DATABASE_URL: 'postgres://x:x@127.0.0.1:9/x',
      NEON_FETCH_ENDPOINT: 'http://127.0.0.1:9/sql',
    };
    const shards = { CLICKHOUSE_SHARDS: undefined, CLICKHOUSE_CLUSTER: undefined };
    const common = { TIMESTORE_KEY_PREFIX: prefix, ...gone, ...shards };
    const withoutTwo = useWorker(common);
    const withoutThree = useWorker({ ...common, UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:9' });

    test.each([
      ['Postgres and ClickHouse', withoutTwo],
      ['Postgres, ClickHouse and Redis', withoutThree],
    ])('the last good copy is there without %s, and shows nothing private', async (_, worker) => {
      // So that a copy is there.
      expect((await open(path('shop'))).status).toBe(200);
      const definitions = [];
      for (const kind of ['services', 'rules', 'channels', 'maintenances']) {
        const answer = await call(`/v1/monitor/${kind}?dataset=${dataset}`);
        definitions.push(await answer.json());
      }
      const values = [...new Set([...Object.values(privateTexts), ...textsIn(definitions)])].filter(isTelling);
      expect(values.length).toBeGreaterThan(10);
      for (const form of forms) {
        const answer = await worker(`${path('shop')}${form}`, { key: null });
        expect(answer.status, form).toBe(200);
        const text = await answer.text();
        expect(values.filter((value) => text.includes(value))).toEqual([]);
        if (form === '') expect(text).toMatch(/As of <time datetime="20/);
      }
    });
  });
});

/** All texts inside a value. */
function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

/** Words that any page has, such as `http`, numbers and times say nothing of the configuration; public titles are shown on purpose. */
const isTelling = (value: string) => value.length > 6 && !publicTexts.includes(value) && !/^20\d\d-/.test(value);
const publicTexts = [
  'Move of the catalogue to new disks',
  'Update of the search index',
  'planned',
  'running',
  'warning',
];
