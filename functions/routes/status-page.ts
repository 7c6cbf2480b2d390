import { type Context, Hono } from 'hono';
import { ApiError } from '../../src/core/errors.ts';
import { slugPattern } from '../../src/core/identifiers.ts';
import { badgeJson, badgeSvg, iconSvg } from '../../src/monitoring/page/badge.ts';
import { readPage } from '../../src/monitoring/page/copies.ts';
import { type FeedKind, renderFeed } from '../../src/monitoring/page/feeds.ts';
import { renderPage } from '../../src/monitoring/page/html.ts';
import { statuspageDocument, statuspageFiles } from '../../src/monitoring/page/statuspage.ts';
import { pagePolicy } from '../../src/monitoring/page/style.ts';
import { overallStatus, type PublicPage } from '../../src/monitoring/page/view.ts';
import { resourceId } from '../../src/monitoring/resources/common.ts';
import type { App } from '../http/app.ts';
import { requireScopes } from '../http/auth.ts';
import { monitorReadScopes } from '../http/monitor-request.ts';
import { withClass } from '../http/route-class.ts';

/** The dataset whose pages have the short form of the address, `/status/<slug>`. */
const defaultDataset = 'monitor';

/** Age from which a page says that newer data is not available. */
const old_ms = 120_000;

type Request = { page: PublicPage; base: string; url: string; c: Context<App> };

/**
 * Status pages: `/status/<slug>` of the dataset `monitor`, and `/status/<dataset>/<slug>` of any other. Every form of a page
 * is made from the same public view. A page that is not public needs a key that reads the dataset.
 */
export function statusPageRoutes(): Hono<App> {
  const pages = new Hono<App>();
  const add = (path: string, respond: (request: Request) => Response) => {
    for (const root of ['/status/:slug', '/status/:dataset/:slug']) {
      pages.get(
        `${root}${path}`,
        withClass('page', async (c: Context<App>) => await answer(c, respond)),
      );
    }
  };
  // Before the feeds: a component may be called feed.
  add('/badge/:badge', badge);
  for (const kind of ['rss', 'atom', 'json'] as const) add(`/feed.${kind}`, (request) => feed(request, kind));
  for (const file of statuspageFiles) {
    add(`/api/v2/${file}`, ({ c, page, url }) => c.json(statuspageDocument(page, url, file)));
  }
  add('/icon.svg', ({ c, page }) => svg(c, iconSvg(overallStatus(page).indicator)));
  add('', html);
  return pages;
}

async function answer(c: Context<App>, respond: (request: Request) => Response): Promise<Response> {
  const ctx = c.get('ctx');
  const { dataset = defaultDataset, slug = '' } = c.req.param() as { dataset?: string; slug?: string };
  const isName = slugPattern.test(dataset) && resourceId.safeParse(slug).success;
  const page = isName ? await readPage(ctx, dataset, slug) : undefined;
  // The same answer as for a page that does not exist.
  if (page === undefined || !(page.isPublic || (await mayRead(c, dataset)))) {
    throw new ApiError('not-found', `Status page ${slug} not found.`);
  }
  const base = dataset === defaultDataset ? `/status/${slug}` : `/status/${dataset}/${slug}`;
  const response = respond({ c, page, base, url: `${new URL(c.req.url).origin}${base}` });
  response.headers.set('cache-control', page.isPublic ? publicCache : 'private, no-store');
  response.headers.set('x-content-type-options', 'nosniff');
  response.headers.set('referrer-policy', 'no-referrer');
  if (page.isPublic) response.headers.set('access-control-allow-origin', '*');
  return response;
}

const publicCache = 'public, max-age=30, stale-while-revalidate=300, stale-if-error=86400';

/** Whether the request has a key that reads the dataset. Throws ApiError for an invalid key. */
async function mayRead(c: Context<App>, dataset: string): Promise<boolean> {
  if (c.req.header('authorization') === undefined) return false;
  await requireScopes([...monitorReadScopes])(c, () => Promise.resolve());
  return monitorReadScopes.some((scope) => c.get('key').covers(scope, dataset));
}

function html({ c, page, base }: Request): Response {
  const isOld = c.get('ctx').now() - page.asOf_ms > old_ms;
  return c.html(renderPage(page, { base, isOld }), 200, { 'content-security-policy': pagePolicy }) as Response;
}

function feed({ c, page, base, url }: Request, kind: FeedKind): Response {
  const { origin } = new URL(c.req.url);
  const { type, text } = renderFeed(page, kind, { page: url, feed: `${origin}${base}/feed.${kind}` });
  return c.body(text, 200, { 'content-type': type });
}

const badgeName = /^(.+)\.(svg|json)$/;

function badge({ c, page }: Request): Response {
  const [, id, extension] = badgeName.exec(c.req.param('badge') ?? '') ?? [];
  const component = page.components.find((each) => each.id === id);
  if (component === undefined) throw new ApiError('not-found', 'The status page has no such badge.');
  return extension === 'json' ? c.json(badgeJson(component)) : svg(c, badgeSvg(component));
}

function svg(c: Context<App>, text: string): Response {
  return c.body(text, 200, {
    'content-type': 'image/svg+xml; charset=utf-8',
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
  });
}
