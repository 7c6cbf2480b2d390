import { readFile } from 'node:fs/promises';
import { parseEnv } from 'node:util';
import type * as z from 'zod';
import { resourceId } from '../../monitoring/resources/common.ts';
import { type Collection, collections, definitions, type Kind, kinds } from '../../monitoring/resources/kinds.ts';
import { isMembers } from '../../monitoring/resources/secret-places.ts';
import { CliFailure, isSystemError, systemMessage, usage } from '../failure.ts';
import { expandReferences } from './references.ts';
import { type Path, type Place, placeText, readYamlFile, type YamlFile } from './yaml-file.ts';

type Members = Record<string, unknown>;

export type Problem = { place: Place; message: string };

/** The resources of all files. */
export type LoadedSet = {
  /** As the API takes them. */
  resources: Partial<Record<Collection, Record<string, Members>>>;
  /** Values that the definitions need, by name. */
  secrets: Map<string, string>;
  /** The place of a member of a resource; undefined for a resource of no file. */
  placeOf(kind: Kind, id: string, path: Path): Place | undefined;
};

const kindOf = new Map(kinds.map((kind) => [collections[kind] as string, kind]));

/**
 * Reads definitions from YAML files. Each has collections such as `services`, with definitions by id; members that begin with
 * `x-` are for anchors.
 *
 * @param secretsFile lines NAME=VALUE for `${NAME}`; undefined: `isLinted` decides whether a reference is a problem
 * @throws CliFailure with the place of every problem
 */
export async function loadSet(
  files: string[],
  { secretsFile, isLinted = false }: { secretsFile?: string | undefined; isLinted?: boolean },
): Promise<LoadedSet> {
  const none = isLinted ? undefined : new Map<string, string>();
  const values = secretsFile === undefined ? none : await readSecretsFile(secretsFile);
  const problems: Problem[] = [];
  const found = new Map<string, YamlFile>();
  const resources: LoadedSet['resources'] = {};
  const secrets = new Map<string, string>();
  for (const name of files) {
    const file = await readYamlFile(name);
    problems.push(...file.problems);
    for (const { kind, id, definition } of resourcesOf(file, resources, problems)) {
      const key = `${kind}/${id}`;
      const at = (path: Path) => file.placeOf([collections[kind], id, ...path]);
      const earlier = found.get(key);
      if (earlier !== undefined) {
        const first = placeText(earlier.placeOf([collections[kind], id]));
        problems.push({ place: at([]), message: `${kind} ${id} is defined twice, first at ${first}` });
        continue;
      }
      found.set(key, file);
      const expanded = expandReferences({ kind, id }, definition, values, secrets);
      problems.push(...expanded.problems.map(({ path, message }) => ({ place: at(path), message })));
      problems.push(...schemaProblems(kind, id, expanded.definition, at));
      Object.assign(resources[collections[kind]] ?? {}, { [id]: expanded.definition });
    }
  }
  if (problems.length > 0) throw failureOf(problems);
  return {
    resources,
    secrets,
    placeOf: (kind, id, path) => found.get(`${kind}/${id}`)?.placeOf([collections[kind], id, ...path]),
  };
}

/** The definitions of a file. Notes its collections, and problems with their form. */
function resourcesOf(
  { value, placeOf, problems: own }: YamlFile,
  resources: LoadedSet['resources'],
  problems: Problem[],
): { kind: Kind; id: string; definition: Members }[] {
  if (value === null || value === undefined || own.length > 0) return [];
  if (!isMembers(value)) {
    problems.push({ place: placeOf([]), message: 'expected collections such as services: and rules:' });
    return [];
  }
  return Object.entries(value).flatMap(([name, members]) => {
    const kind = kindOf.get(name);
    if (name.startsWith('x-')) return [];
    if (kind === undefined) {
      const message = `unknown collection ${name}; expected ${Object.values(collections).join(', ')}`;
      problems.push({ place: placeOf([name]), message });
      return [];
    }
    // An empty collection counts with --prune.
    resources[collections[kind]] ??= {};
    if (members === null) return [];
    if (!isMembers(members)) {
      problems.push({ place: placeOf([name]), message: `${name}: expected definitions by id` });
      return [];
    }
    return Object.entries(members).flatMap(([id, definition]) => {
      if (isMembers(definition)) return [{ kind, id, definition }];
      if (definition === null) return [{ kind, id, definition: {} }];
      problems.push({ place: placeOf([name, id]), message: `${kind} ${id}: expected a definition` });
      return [];
    });
  });
}

function schemaProblems(kind: Kind, id: string, definition: Members, at: (path: Path) => Place): Problem[] {
  const problems: Problem[] = [];
  const wrongId = resourceId.safeParse(id).error?.issues[0];
  if (wrongId !== undefined) problems.push({ place: at([]), message: `id ${JSON.stringify(id)}: ${wrongId.message}` });
  for (const issue of definitions[kind].safeParse(definition).error?.issues ?? []) {
    const path = [...issue.path.map(String), ...(issue.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [])];
    problems.push({ place: at(path), message: `${kind} ${id}: ${issueText(issue)}` });
  }
  return problems;
}

function issueText({ path, message }: z.core.$ZodIssue): string {
  return path.length === 0 ? message : `${path.join('.')}: ${message}`;
}

/** All problems, in the order of the files. */
export function failureOf(problems: Problem[]): CliFailure {
  const lines = problems.map(({ place, message }) => `${placeText(place)}: ${message}`);
  return new CliFailure([...new Set(lines)].join('\n'));
}

async function readSecretsFile(file: string): Promise<Map<string, string>> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw isSystemError(error) ? usage(systemMessage(error, file)) : error;
  }
  // The text must not be printed: it contains secrets.
  for (const [i, line] of text.split('\n').entries()) {
    if (!/^\s*(?:#.*|(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s*=.*)?$/.test(line.trimEnd())) {
      throw usage(`${file}:${i + 1}: expected NAME=VALUE.`);
    }
  }
  return new Map(Object.entries(parseEnv(text)).map(([name, value]) => [name, value ?? '']));
}
