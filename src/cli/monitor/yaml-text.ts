import { stringify } from 'yaml';
import { collections, definitions, type Kind, kinds } from '../../monitoring/resources/kinds.ts';
import { isMembers } from '../../monitoring/resources/secret-places.ts';
import { escapeReferences } from './references.ts';

type Members = Record<string, unknown>;

/**
 * Definitions as the YAML that `apply` reads: collections in the order of their kinds, ids by name, members in the order of
 * their schema, and without members that have their default.
 *
 * @param options `keepsReferences`: `${NAME}` in a text is a reference, as in the files of other systems
 */
export function yamlOf(
  resources: { kind: Kind; id: string; definition: Members }[],
  { keepsReferences = false }: { keepsReferences?: boolean } = {},
): string {
  const file: Members = {};
  for (const kind of kinds) {
    const own = resources.filter((each) => each.kind === kind).sort((a, b) => (a.id < b.id ? -1 : 1));
    if (own.length === 0) continue;
    file[collections[kind]] = Object.fromEntries(
      own.map(({ id, definition }) => {
        const least = withoutDefaults(kind, definition);
        return [id, keepsReferences ? least : escapeTexts(least)];
      }),
    );
  }
  return stringify(file, { lineWidth: 0, aliasDuplicateObjects: false });
}

/** The least members from which the schema makes the same definition. */
export function withoutDefaults(kind: Kind, definition: Members): Members {
  const schema = definitions[kind];
  const full = schema.parse(definition);
  const wanted = sortedJson(full);
  const left = structuredClone(full) as Members;
  const isSame = () => {
    const { success, data } = schema.safeParse(left);
    return success && sortedJson(data) === wanted;
  };
  const strip = (owner: Members): void => {
    for (const name of Object.keys(owner)) {
      const value = owner[name];
      delete owner[name];
      if (value === undefined || isSame()) continue;
      owner[name] = value;
      if (Array.isArray(value)) for (const each of value) if (isMembers(each)) strip(each);
      if (isMembers(value)) strip(value);
    }
  };
  strip(left);
  // A member that was put back is the last one.
  return inOrderOf(full, left) as Members;
}

function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    isMembers(each) ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1))) : each,
  );
}

function inOrderOf(full: unknown, left: unknown): unknown {
  if (Array.isArray(full) && Array.isArray(left)) return left.map((each, i) => inOrderOf(full[i], each));
  if (!isMembers(full) || !isMembers(left)) return left;
  const names = Object.keys(full).filter((name) => Object.hasOwn(left, name));
  return Object.fromEntries(names.map((name) => [name, inOrderOf(full[name], left[name])]));
}

function escapeTexts(value: unknown): unknown {
  if (typeof value === 'string') return escapeReferences(value);
  if (Array.isArray(value)) return value.map(escapeTexts);
  if (!isMembers(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, escapeTexts(each)]));
}
