import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '..', '..');

/** Folders on one floor above the layers that every deployment uses: each imports those layers and none of the others. */
const extensions = ['monitoring', 'models', 'search', 'protocols', 'console'];

/** The layers of `src`, lowest first: a file imports from its own layer and from those below. */
const layers = [
  'core',
  'client',
  'stores',
  'schema',
  'buffer',
  'catalog',
  'keys',
  'ingest',
  'flush',
  'query',
  'jobs',
  'operations',
  'telemetry',
  ...extensions,
  'create-context.ts',
  'cli',
];

const files = globSync(['src/**/*.ts', 'functions/**/*.ts'], { cwd: root })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => !path.endsWith('.d.ts'));
const texts = new Map(files.map((path) => [path, readFileSync(join(root, path), 'utf8')]));

/** Imports of the project's own modules, of types too. */
const imports = [...texts].flatMap(([from, text]) =>
  [...text.matchAll(/^(?:import|export)\b[^;']*?'(\.[^']+\.ts)';/gm)].map(([, path = '']) => {
    return { from, to: normalize(join(dirname(from), path)).replaceAll('\\', '/') };
  }),
);

test('every folder of src is a layer', () => {
  const folders = new Set(files.filter((path) => path.startsWith('src/')).map((path) => path.split('/')[1]));
  expect([...folders].filter((folder) => !layers.includes(folder ?? ''))).toEqual([]);
});

test('no layer imports from a layer above it', () => {
  const layerOf = (path: string) => layers.indexOf(path.split('/')[1] ?? '');
  const upward = imports.filter(({ from, to }) => {
    if (!from.startsWith('src/')) return false;
    return !to.startsWith('src/') || layerOf(to) > layerOf(from);
  });
  expect(imports.length).toBeGreaterThan(1_000);
  expect(upward).toEqual([]);
});

test('extensions import none of each other', () => {
  const folder = (path: string) => path.split('/')[1] ?? '';
  const across = imports.filter(({ from, to }) => {
    return [from, to].every((path) => extensions.includes(folder(path))) && folder(from) !== folder(to);
  });
  expect(across).toEqual([]);
});

test('the client imports nothing but itself, and http none of the routes', () => {
  const inside = (path: string, folder: string) => path.startsWith(folder);
  expect(imports.filter(({ from, to }) => inside(from, 'src/client/') && !inside(to, 'src/client/'))).toEqual([]);
  expect(imports.filter(({ from, to }) => inside(from, 'functions/http/') && inside(to, 'functions/routes/'))).toEqual(
    [],
  );
});

test('folders beside each other have no cycle of imports', () => {
  const arrows = new Map<string, Set<string>>();
  for (const { from, to } of imports) {
    const a = dirname(from).split('/');
    const b = dirname(to).split('/');
    const shared = a.findIndex((part, i) => part !== b[i]);
    // One of the two folders contains the other.
    if (shared === -1 || b[shared] === undefined) continue;
    const sibling = a.slice(0, shared + 1).join('/');
    arrows.set(sibling, (arrows.get(sibling) ?? new Set()).add(b.slice(0, shared + 1).join('/')));
  }
  const reaches = (from: string, goal: string, seen = new Set<string>()): boolean => {
    if (seen.has(from)) return false;
    seen.add(from);
    return [...(arrows.get(from) ?? [])].some((next) => next === goal || reaches(next, goal, seen));
  };
  expect([...arrows.keys()].filter((folder) => reaches(folder, folder))).toEqual([]);
});

test('no source file has more than 300 lines', () => {
  const long = [...texts].map(([path, text]) => ({ path, lines: text.split('\n').length - 1 }));
  expect(long.filter(({ lines }) => lines > 300)).toEqual([]);
});

test('no literal is spread into another only for its line breaks', () => {
  const spread = [...texts].flatMap(([path, text]) => {
    return [...text.matchAll(/\.\.\.(?:\{(?! \.\.\.)[^}]*\}|\[[^\]]*\]|\(\[[^\]]*\] as const\))\s*,/g)].map(
      ([found]) => ({ path, found }),
    );
  });
  expect(spread).toEqual([]);
});

test('rows of stores are checked, and not believed to have a type', () => {
  const generic = [
    'src/stores/clickhouse/client.ts',
    'src/stores/clickhouse/failover.ts',
    'src/stores/postgres/client.ts',
  ];
  const believed = [...texts].filter(([path, text]) => {
    return (
      !path.startsWith('src/cli/') &&
      !generic.includes(path) &&
      /(?:postgres|clickhouse|reader|node)\s*\.rows</.test(text)
    );
  });
  expect(believed.map(([path]) => path)).toEqual([]);
});

test('texts use the terms of the field', () => {
  const avoided = /\b(?:is told|on record|is away|goes by|at fault|anew|somebody)\b/i;
  const guides = globSync(['functions/guides/*.md', 'src/**/*.md', '*.md'], { cwd: root });
  const documents = guides.map((path) => [path, readFileSync(join(root, path), 'utf8')] as const);
  const found = [...texts, ...documents].flatMap(([path, text]) =>
    text.split('\n').flatMap((line, i) => (avoided.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : [])),
  );
  expect(found).toEqual([]);
});

test('modules are named by paths that exist', () => {
  const known = new Set(globSync(['src/**/*.*', 'functions/**/*.*', 'sql/**/*.*'], { cwd: root }));
  const named = [...texts].flatMap(([path, text]) =>
    [...text.matchAll(/(?<![\w./-])((?:src|functions|sql)\/[\w/-]+\.(?:ts|lua|sql|md|json|yaml))/g)].map(
      ([, name = '']) => ({
        path,
        name,
      }),
    ),
  );
  expect(
    named.filter(({ name }) => !known.has(name)).map(({ path, name }) => `${relative('.', path)}: ${name}`),
  ).toEqual([]);
});
