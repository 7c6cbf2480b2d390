import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { marked, type Token, type Tokens } from 'marked';
import { expect, test } from 'vitest';
import { guides } from '../../functions/http/guide-list.ts';
import { headingsOf } from '../../functions/http/guide-page.ts';
import { readConfig, settingNames } from '../../src/core/config.ts';
import { errorCatalogue } from '../../src/core/errors.ts';
import { operatorNames } from '../../src/query/request/operators.ts';

const root = join(import.meta.dirname, '..', '..');
const guideFolder = join('functions', 'guides');

/** Every Markdown document of the repository, by its path. */
const documents = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.md') && !/(?:^|\/)(?:node_modules|\.[^/]+)\//.test(path))
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));

const forUsers = documents.filter(({ path }) => path.startsWith(guideFolder) || !path.includes('/'));

const textOf = (path: string) => documents.find((document) => document.path === path)?.text ?? '';

/** The addresses of all links and images of a document. */
function linksOf(text: string): string[] {
  const found: string[] = [];
  const note = (token: Token) => {
    if (token.type === 'link' || token.type === 'image') found.push((token as Tokens.Link).href);
  };
  void marked.walkTokens(marked.lexer(text), note);
  return found;
}

/** What is wrong with a relative link, undefined for nothing. */
function fault(path: string, href: string): string | undefined {
  const [file = '', anchor] = href.split('#');
  const target = file === '' ? path : normalize(join(dirname(path), file));
  if (!existsSync(join(root, target))) return `${path}: ${href} names no file`;
  if (anchor === undefined) return undefined;
  const isThere = headingsOf(textOf(target)).some(({ slug }) => slug === anchor);
  return isThere ? undefined : `${path}: ${href} names no heading`;
}

test('every relative link and every anchor in a document resolves', () => {
  const relatives = documents.flatMap(({ path, text }) =>
    linksOf(text).flatMap((href) => (/^[a-z]+:/.test(href) ? [] : [{ path, href }])),
  );
  expect(relatives.length).toBeGreaterThan(100);
  expect(relatives.flatMap(({ path, href }) => fault(path, href) ?? [])).toEqual([]);
});

test('every path of the repository that a document for users names is there', () => {
  const named = forUsers.flatMap(({ path, text }) =>
    [...text.matchAll(/`((?:src|sql|functions|local|test)\/[\w./-]+)`/g)].map(([, name = '']) => ({ path, name })),
  );
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter(({ name }) => !existsSync(join(root, name)))).toEqual([]);
});

test('every npm script that a document names is there', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const named = documents.flatMap(({ path, text }) =>
    [...text.matchAll(/\bnpm run (?:-s )?([a-z][a-z:-]*)/g)].map(([, name = '']) => ({ path, name })),
  );
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter(({ name }) => scripts[name] === undefined)).toEqual([]);
});

test('the README has at most 150 lines, a guide at most 200, a line of prose at most 130 characters', () => {
  const lengths = forUsers.map(({ path, text }) => ({ path, lines: text.trimEnd().split('\n').length }));
  const most = (path: string) => (path === 'README.md' ? 150 : path.startsWith(guideFolder) ? 200 : 300);
  expect(lengths.filter(({ path, lines }) => lines > most(path))).toEqual([]);
  const long = forUsers.flatMap(({ path, text }) =>
    text
      .replaceAll(/^```[\s\S]*?^```/gm, '')
      .split('\n')
      .filter((line) => line.length > 130 && !line.startsWith('|'))
      .map((line) => ({ path, line })),
  );
  expect(long).toEqual([]);
});

test('every guide is served, listed in the index, and links to other guides only', () => {
  const files = readdirSync(join(root, guideFolder)).filter((name) => name !== 'README.md');
  expect(Object.keys(guides).sort()).toEqual(files.map((name) => name.replace(/\.md$/, '')).sort());
  const listed = linksOf(textOf(join(guideFolder, 'README.md')));
  expect(listed.toSorted()).toEqual(files.toSorted());
  // Served, a guide has no other files of the repository beside it.
  const outside = documents
    .filter(({ path }) => path.startsWith(guideFolder))
    .flatMap(({ path, text }) => linksOf(text).map((href) => ({ path, href })))
    .filter(({ href }) => !/^(?:https:\/\/|#)/.test(href) && !/^[a-zA-Z-]+\.md(?:#|$)/.test(href));
  expect(outside).toEqual([]);
  const unreachable = Object.keys(guides).filter((name) => {
    return !linksOf(textOf('README.md')).some((href) => relative(guideFolder, href) === `${name}.md`);
  });
  expect(unreachable).toEqual([]);
});

/** The cells of the rows of all tables of a guide, without the marks of code. */
function cellsOf(name: string): string[][] {
  const rows = (guides[name] ?? '').split('\n').filter((line) => line.startsWith('|'));
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', '')),
  );
}

test('the guide to the configuration has every variable, and every limit with its default', () => {
  const rows = cellsOf('configuration');
  const named = new Set(rows.flatMap(([names = '']) => names.split(', ')));
  expect(settingNames.filter((name) => !named.has(name))).toEqual([]);
  const { limits } = readConfig({
    ...{ TIMESTORE_ADMIN_KEY: 'x'.repeat(8), UPSTASH_REDIS_REST_URL: 'http://r', UPSTASH_REDIS_REST_TOKEN: 't' },
    ...{ DATABASE_URL: 'postgres://p/d', CLICKHOUSE_URL: 'http://c', CLICKHOUSE_USER: 'u', CLICKHOUSE_PASSWORD: 'p' },
    ...{ CLICKHOUSE_READER_USER: 'r', CLICKHOUSE_READER_PASSWORD: 'p', S3_ENDPOINT: 'http://s', S3_REGION: 'r' },
    ...{ S3_BUCKET: 'b', S3_ACCESS_KEY_ID: 'k', S3_SECRET_ACCESS_KEY: 's' },
  });
  const defaults = new Map(rows.map(([name = '', value = '']) => [name, value]));
  for (const [name, value] of Object.entries(limits)) {
    const variable = `TIMESTORE_${name.toUpperCase()}`;
    expect([variable, defaults.get(variable)]).toEqual([variable, String(value)]);
  }
});

test('the guide to queries has every filter operator', () => {
  expect(operatorNames.filter((name) => !guides.query?.includes(`\`${name}\``))).toEqual([]);
});

test('the guide to errors has every code with its status and whether it may be retried', () => {
  const rows = cellsOf('errors').flatMap(([code = '', status = '', retryable = '']) =>
    /^[1-5]\d\d$/.test(status) ? [{ code, status, retryable }] : [],
  );
  expect(rows).toEqual(
    Object.entries(errorCatalogue).map(([code, { status, retryable }]) => {
      return { code, status: String(status), retryable: retryable ? 'yes' : 'no' };
    }),
  );
});
