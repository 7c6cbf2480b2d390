import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { describe, expect, test } from 'vitest';
import { badgeJson, badgeSvg } from '../../../src/monitoring/page/badge.ts';
import { dayState } from '../../../src/monitoring/page/bars.ts';
import { renderFeed } from '../../../src/monitoring/page/feeds.ts';
import { renderPage } from '../../../src/monitoring/page/html.ts';
import { statuspageDocument } from '../../../src/monitoring/page/statuspage.ts';
import { overallStatus, type PublicComponent, type PublicPage } from '../../../src/monitoring/page/view.ts';

const at_ms = Date.parse('2026-05-01T10:00:00Z');
const hostile = `<script>alert("1")</script> & 'x' ]]> \u0000\u000b`;

const component = (more: Partial<PublicComponent> = {}): PublicComponent => ({
  id: 'api',
  label: 'API',
  group: null,
  status: 'operational',
  isKnown: true,
  days: [{ at_ms, good: 1_439, bad: 1, all: 1_440, maintenance: 0 }],
  ...more,
});

const page = (more: Partial<PublicPage> = {}): PublicPage => ({
  version: 1,
  isPublic: true,
  slug: 'shop',
  title: 'Shop',
  description: '',
  createdAt_ms: at_ms,
  asOf_ms: at_ms,
  components: [component()],
  incidents: [],
  maintenances: [],
  ...more,
});

const full = page({
  title: hostile,
  components: [component({ label: hostile, group: hostile })],
  incidents: [
    {
      id: 'i1',
      title: hostile,
      impact: 'major',
      status: 'monitoring',
      openedAt_ms: at_ms,
      resolvedAt_ms: null,
      components: [hostile],
      updates: [{ at_ms: at_ms + 60_000, status: 'monitoring', body: hostile }],
    },
  ],
  maintenances: [
    {
      id: 'm1',
      title: hostile,
      status: 'scheduled',
      from_ms: at_ms + 3_600_000,
      until_ms: at_ms + 7_200_000,
      components: ['API'],
    },
  ],
});

const addresses = { page: 'https://x.example/status/shop', feed: 'https://x.example/status/shop/feed.rss' };

describe('the status of a page', () => {
  const overall = (...statuses: Partial<PublicComponent>[]) =>
    overallStatus(page({ components: statuses.map(component) }));

  test('is that of its components', () => {
    expect(overall({})).toEqual({ indicator: 'none', text: 'All systems operational' });
    expect(overall({}, { status: 'degraded_performance' }).indicator).toBe('minor');
    expect(overall({}, { status: 'major_outage' }).indicator).toBe('major');
    expect(overall({ status: 'under_maintenance' }, { status: 'major_outage' }).indicator).toBe('critical');
    expect(overall({}, { status: 'under_maintenance' })).toEqual({
      indicator: 'none',
      text: 'Maintenance in progress',
    });
  });

  test('is not operational while a component sends nothing', () => {
    const unknown = { status: 'degraded_performance', isKnown: false } as const;
    expect(overall({}, unknown)).toEqual({ indicator: 'minor', text: 'Some components sent no recent data' });
    expect(overall(unknown, { status: 'degraded_performance' }).text).toBe('Degraded performance');
    expect(overall().text).toBe('No components yet');
  });
});

test('a day without data is not a day without failures', () => {
  const day = { good: 0, bad: 0, all: 0, maintenance: 0 };
  expect(dayState({ ...day, all: 1_440 })).toBe('none');
  expect(dayState({ ...day, maintenance: 1_440 })).toBe('maintenance');
  expect(dayState({ ...day, good: 1, all: 1 })).toBe('up');
  expect(dayState({ ...day, good: 99, bad: 1, all: 100 })).toBe('partial');
  expect(dayState({ ...day, good: 90, bad: 10, all: 100 })).toBe('down');
});

describe('feeds', () => {
  const parser = new XMLParser({ ignoreAttributes: false });

  test('RSS and Atom are XML, whatever the texts contain', () => {
    const rss = renderFeed(full, 'rss', addresses).text;
    expect(XMLValidator.validate(rss)).toBe(true);
    const { channel } = parser.parse(rss).rss;
    expect(channel.item).toHaveLength(2);
    expect(channel['atom:link']['@_href']).toBe(addresses.feed);
    expect(channel.item[0].guid['#text']).toBe('i1');
    expect(channel.item[0].title).toBe(`<script>alert("1")</script> & 'x' ]]>  (monitoring)`);
    expect(Date.parse(channel.item[0].pubDate)).toBe(at_ms);
    const atom = renderFeed(full, 'atom', addresses).text;
    expect(XMLValidator.validate(atom)).toBe(true);
    const { feed } = parser.parse(atom);
    expect(feed.updated).toBe('2026-05-01T10:01:00.000Z');
    expect(feed.entry.map((entry: { id: string }) => entry.id)).toEqual([
      `${addresses.page}#i1`,
      `${addresses.page}#m1`,
    ]);
    for (const entry of feed.entry)
      expect(Object.keys(entry)).toEqual(expect.arrayContaining(['title', 'updated', 'content']));
  });

  test('JSON has the entries of the others', () => {
    const feed = JSON.parse(renderFeed(full, 'json', addresses).text);
    expect(feed.version).toBe('https://jsonfeed.org/version/1.1');
    expect(feed.items.map(({ id }: { id: string }) => id)).toEqual(['i1', 'm1']);
    expect(feed.items[0].content_text).toContain(hostile);
  });

  test('of a page without incidents have no entries', () => {
    const rss = renderFeed(page(), 'rss', addresses).text;
    expect(XMLValidator.validate(rss)).toBe(true);
    expect(parser.parse(rss).rss.channel.item).toBeUndefined();
  });
});

test('HTML shows texts as text', () => {
  const html = renderPage(full, { base: '/status/shop', isOld: false });
  expect(html).not.toContain('<script');
  expect(html).toContain('&lt;script&gt;alert(&quot;1&quot;)');
  expect(html).not.toContain('Newer data is not available');
  expect(renderPage(full, { base: '/status/shop', isOld: true })).toContain('Newer data is not available');
});

describe('badges', () => {
  test('say status and availability, and never more than was measured', () => {
    expect(badgeJson(component())).toEqual({
      schemaVersion: 1,
      label: 'API',
      message: 'up 99.93%',
      color: 'brightgreen',
      cacheSeconds: 60,
      isError: false,
    });
    expect(badgeJson(component({ status: 'major_outage' }))).toMatchObject({ message: 'down 99.93%', color: 'red' });
    expect(badgeJson(component({ days: [] })).message).toBe('up');
    expect(badgeJson(component({ isKnown: false, status: 'degraded_performance' }))).toMatchObject({
      message: 'no recent data',
      color: 'lightgrey',
    });
  });

  test('are SVG, whatever the label contains', () => {
    expect(XMLValidator.validate(badgeSvg(component({ label: hostile })))).toBe(true);
    expect(badgeSvg(component({ label: 'x'.repeat(200) }))).toContain(`${'x'.repeat(59)}…`);
  });
});

test("Statuspage's summary has open incidents and maintenance to come, with components in groups", () => {
  const summary = statuspageDocument(full, addresses.page, 'summary.json') as Record<string, never>;
  expect(summary).toMatchObject({
    page: { name: hostile, url: addresses.page, updated_at: '2026-05-01T10:00:00.000Z' },
    status: { indicator: 'none', description: 'All systems operational' },
    components: [
      { id: 'api', name: hostile, status: 'operational', group: false },
      { name: hostile, group: true, components: ['api'], status: 'operational' },
    ],
    incidents: [
      { id: 'i1', impact: 'major', status: 'monitoring', monitoring_at: '2026-05-01T10:01:00.000Z', resolved_at: null },
    ],
    scheduled_maintenances: [{ id: 'm1', status: 'scheduled', scheduled_for: '2026-05-01T11:00:00.000Z' }],
  });
  const resolved = {
    ...full,
    incidents: full.incidents.map((each) => ({ ...each, status: 'resolved' as const, resolvedAt_ms: at_ms })),
  };
  expect(statuspageDocument(resolved, addresses.page, 'summary.json')).toMatchObject({ incidents: [] });
  expect(statuspageDocument(resolved, addresses.page, 'incidents.json')).toMatchObject({ incidents: [{ id: 'i1' }] });
});
