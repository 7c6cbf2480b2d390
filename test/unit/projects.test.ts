import { globSync } from 'node:fs';
import { join, matchesGlob } from 'node:path';
import { expect, test } from 'vitest';
import config from '../../vitest.config.ts';

const root = join(import.meta.dirname, '..', '..');

type Project = { test: { name: string; include: string[]; exclude?: string[] } };

test('every test file is in one project', () => {
  const projects = (config.test?.projects ?? []) as Project[];
  const files = globSync('test/**/*.test.ts', { cwd: root });
  const places = files.map((file) => {
    const found = projects.filter(({ test: { include, exclude = [] } }) => {
      return include.some((glob) => matchesGlob(file, glob)) && !exclude.some((glob) => matchesGlob(file, glob));
    });
    return { file, projects: found.map((project) => project.test.name) };
  });
  expect(places.filter((place) => place.projects.length !== 1)).toEqual([]);
});
