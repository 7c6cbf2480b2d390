import { escapeText, minuteText } from './text.ts';
import { type PublicIncident, type PublicMaintenance, type PublicPage, statusTexts } from './view.ts';

type Entry = { id: string; title: string; text: string; at_ms: number; changedAt_ms: number };

/** Where the feeds of a page are: the addresses of the page and of the feed itself. */
export type FeedAddress = { page: string; feed: string };

const mediaTypes = {
  rss: 'application/rss+xml; charset=utf-8',
  atom: 'application/atom+xml; charset=utf-8',
  json: 'application/feed+json; charset=utf-8',
} as const;

export type FeedKind = keyof typeof mediaTypes;

/** A feed of the incidents and maintenance windows of a page, and its media type. */
export function renderFeed(page: PublicPage, kind: FeedKind, address: FeedAddress): { type: string; text: string } {
  const entries = [
    ...page.incidents.map(incidentEntry),
    ...page.maintenances.map((each) => maintenanceEntry(page, each)),
  ];
  entries.sort((a, b) => b.changedAt_ms - a.changedAt_ms);
  const render = { rss: rssText, atom: atomText, json: jsonText }[kind];
  return { type: mediaTypes[kind], text: render(page, entries, address) };
}

function incidentEntry({ id, title, status, openedAt_ms, components, updates }: PublicIncident): Entry {
  const lines = updates.map((update) => `${capital(update.status)}, ${minuteText(update.at_ms)}: ${update.body}`);
  const affected = components.length === 0 ? [] : [`Affects ${components.join(', ')}.`];
  const text = [...affected, ...(lines.length === 0 ? [`${capital(status)}.`] : lines)].join('\n');
  return {
    id,
    title: `${title} (${status})`,
    text,
    at_ms: openedAt_ms,
    changedAt_ms: updates[0]?.at_ms ?? openedAt_ms,
  };
}

function maintenanceEntry(page: PublicPage, maintenance: PublicMaintenance): Entry {
  const { id, title, from_ms, until_ms, components } = maintenance;
  const text = `${statusTexts.under_maintenance} of ${components.join(', ')}, ${minuteText(from_ms)} to ${minuteText(until_ms)}.`;
  // An entry of the future would stay on top of every reader.
  const at_ms = Math.min(from_ms, page.asOf_ms);
  return { id, title: `Maintenance: ${title}`, text, at_ms, changedAt_ms: at_ms };
}

function capital(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

const iso = (time_ms: number) => new Date(time_ms).toISOString();

function rssText(page: PublicPage, entries: Entry[], { page: url, feed }: FeedAddress): string {
  const items = entries.map(
    ({ id, title, text, at_ms }) => `<item>
<title>${escapeText(title)}</title>
<link>${escapeText(`${url}#${id}`)}</link>
<guid isPermaLink="false">${id}</guid>
<pubDate>${new Date(at_ms).toUTCString()}</pubDate>
<description>${escapeText(text)}</description>
</item>
`,
  );
  return `<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom">
<channel>
<title>${escapeText(page.title)} status</title>
<link>${escapeText(url)}</link>
<description>Incidents and maintenance of ${escapeText(page.title)}</description>
<lastBuildDate>${new Date(page.asOf_ms).toUTCString()}</lastBuildDate>
<atom:link href="${escapeText(feed)}" rel="self" type="application/rss+xml"/>
${items.join('')}</channel>
</rss>
`;
}

function atomText(page: PublicPage, entries: Entry[], { page: url, feed }: FeedAddress): string {
  const items = entries.map(
    ({ id, title, text, at_ms, changedAt_ms }) => `<entry>
<id>${escapeText(`${url}#${id}`)}</id>
<title>${escapeText(title)}</title>
<link href="${escapeText(`${url}#${id}`)}"/>
<published>${iso(at_ms)}</published>
<updated>${iso(changedAt_ms)}</updated>
<content type="text">${escapeText(text)}</content>
</entry>
`,
  );
  return `<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
<id>${escapeText(url)}</id>
<title>${escapeText(page.title)} status</title>
<updated>${iso(entries[0]?.changedAt_ms ?? page.createdAt_ms)}</updated>
<author><name>${escapeText(page.title)}</name></author>
<link href="${escapeText(url)}"/>
<link href="${escapeText(feed)}" rel="self"/>
${items.join('')}</feed>
`;
}

function jsonText(page: PublicPage, entries: Entry[], { page: url, feed }: FeedAddress): string {
  return JSON.stringify({
    version: 'https://jsonfeed.org/version/1.1',
    title: `${page.title} status`,
    home_page_url: url,
    feed_url: feed,
    items: entries.map(({ id, title, text, at_ms, changedAt_ms }) => ({
      id,
      url: `${url}#${id}`,
      title,
      content_text: text,
      date_published: iso(at_ms),
      date_modified: iso(changedAt_ms),
    })),
  });
}
