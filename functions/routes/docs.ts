import { type Context, Hono } from 'hono';
import { openAPIRouteHandler } from 'hono-openapi';
import { ApiError } from '../../src/core/errors.ts';
import type { App } from '../http/app.ts';
import { guideIndex, guides } from '../http/guide-list.ts';
import { renderGuide } from '../http/guide-page.ts';
import { guideStyle } from '../http/guide-style.ts';
import { withClass } from '../http/route-class.ts';

/** Swagger UI's own files, served from the ASSETS binding, and one of ours that starts it. */
const files = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'] as const;

const page = `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Timestore API</title>
  <link rel="stylesheet" href="/docs/swagger-ui.css">
  <link rel="icon" href="/docs/favicon-32x32.png">
</head>
<body>
  <p><a href="/docs/">Guides</a></p>
  <div id="ui"></div>
  <script src="/docs/swagger-ui-bundle.js"></script>
  <script src="/docs/start.js"></script>
</body>
</html>
`;

const start = `SwaggerUIBundle({ url: '/openapi.json', dom_id: '#ui', deepLinking: true, persistAuthorization: true });
`;

/** Nothing but our own files runs on a page, which may hold a key. */
const policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/** The guides, the API's description, made from `app`'s routes, and a page to read and try it. */
export function docsRoutes(app: Hono<App>): Hono<App> {
  const docs = new Hono<App>();
  docs.get(
    '/openapi.json',
    withClass(
      'health',
      openAPIRouteHandler(app, {
        documentation: {
          openapi: '3.1.0',
          info: {
            title: 'Timestore',
            version: '1',
            description: 'Rows over HTTPS, queryable in ClickHouse at once and exactly once.',
            license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
          },
          components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
          security: [{ key: [] }],
        },
      }),
    ),
  );
  docs.get(
    '/docs/api',
    withClass('health', (c: Context<App>) => c.html(page, 200, { 'content-security-policy': policy })),
  );
  const texts = { 'start.js': [start, 'text/javascript'], 'guide.css': [guideStyle, 'text/css'] } as const;
  for (const [name, [text, type]] of Object.entries(texts)) {
    docs.get(
      `/docs/${name}`,
      withClass('health', (c: Context<App>) => c.body(text, 200, { 'content-type': `${type}; charset=utf-8` })),
    );
  }
  for (const file of files) {
    docs.get(
      `/docs/${file}`,
      withClass('health', async (c: Context<App>) => {
        const { ASSETS } = c.env;
        if (ASSETS === undefined) throw new ApiError('misconfigured', 'The deployment lacks its ASSETS binding.');
        const answer = await ASSETS.fetch(new URL(`/${file}`, c.req.url));
        return new Response(answer.body, answer);
      }),
    );
  }
  addGuide(docs, 'README', guideIndex, ['/docs', '/docs/']);
  for (const [name, markdown] of Object.entries(guides)) addGuide(docs, name, markdown, [`/docs/${name}`]);
  return docs;
}

/** Adds the pages of a guide and, for programs, its Markdown. */
function addGuide(docs: Hono<App>, name: string, markdown: string, addresses: string[]): void {
  let html: string | undefined;
  for (const address of addresses) {
    docs.get(
      address,
      withClass('health', (c: Context<App>) => {
        html ??= renderGuide(name, markdown);
        return c.html(html, 200, { 'content-security-policy': policy });
      }),
    );
  }
  docs.get(
    `/docs/${name}.md`,
    withClass('health', (c: Context<App>) => {
      return c.body(markdown, 200, { 'content-type': 'text/markdown; charset=utf-8' });
    }),
  );
}
