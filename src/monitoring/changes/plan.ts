import { type Kind, kinds } from '../resources/kinds.ts';
import { isMembers, mapSecretPlaces, secretsOf } from '../resources/secret-places.ts';
import { keyOf, type Members, type Stored, type StoredResource } from './stored.ts';

/** A definition with its defaults; null removes the resource. */
export type WantedResource = { kind: Kind; id: string; definition: Members | null };

export type Wanted = {
  resources: WantedResource[];
  /** Values by name; null removes the secret. */
  secrets: Map<string, string | null>;
};

/** A member that changes. Members that hold secrets are named without their values. */
export type MemberChange = { member: string; before?: unknown; after?: unknown; isSecret?: true };

export type Change = {
  action: 'create' | 'change' | 'remove';
  kind: Kind | 'secret';
  id: string;
  members: MemberChange[];
};

export type Plan = {
  changes: Change[];
  /** The configuration after the change. Revisions are those before it. */
  next: Pick<Stored, 'resources' | 'secrets'>;
  put: StoredResource[];
  removed: { kind: Kind; id: string }[];
  secretsPut: { name: string; value: string }[];
  secretsRemoved: string[];
};

/** Compares the wanted definitions with the stored ones. Literals in secret places become secrets. */
export function planChanges(stored: Stored, { resources, secrets }: Wanted): Plan {
  const next = { resources: new Map(stored.resources), secrets: new Map(stored.secrets) };
  const changes: Change[] = [];
  const put: StoredResource[] = [];
  const removed: Plan['removed'] = [];
  const generated = new Set<string>();
  for (const [name, value] of secrets) {
    if (value === null) next.secrets.delete(name);
    else next.secrets.set(name, value);
  }
  for (const { kind, id, definition } of resources) {
    const key = keyOf({ kind, id });
    const before = stored.resources.get(key);
    for (const name of generatedBy(before)) generated.add(name);
    if (definition === null) {
      if (before === undefined) continue;
      next.resources.delete(key);
      removed.push({ kind, id });
      changes.push({ action: 'remove', kind, id, members: [] });
      continue;
    }
    const { hidden, literals } = hideLiterals({ kind, id }, definition);
    const members = before === undefined ? [] : differences(before.definition, hidden);
    for (const [member, [name, value]] of literals) {
      next.secrets.set(name, value);
      if (before !== undefined && stored.secrets.get(name) !== value && !members.some((each) => each.member === member))
        members.push({ member, isSecret: true });
    }
    const after = { kind, id, definition: hidden, revision: before?.revision ?? 0 };
    next.resources.set(key, after);
    if (before !== undefined && members.length === 0) continue;
    put.push(after);
    changes.push({ action: before === undefined ? 'create' : 'change', kind, id, members });
  }
  const used = usedSecrets(next.resources.values());
  for (const name of generated) if (!used.has(name)) next.secrets.delete(name);
  const secretsPut = [...next.secrets].flatMap(([name, value]) =>
    stored.secrets.get(name) === value ? [] : [{ name, value }],
  );
  const secretsRemoved = [...stored.secrets.keys()].filter((name) => !next.secrets.has(name));
  for (const name of secrets.keys()) {
    const [had, has] = [stored.secrets.get(name), next.secrets.get(name)];
    if (had === has) continue;
    const action = had === undefined ? 'create' : has === undefined ? 'remove' : 'change';
    changes.push({ action, kind: 'secret', id: name, members: [] });
  }
  return { changes: inOrder(changes), next, put, removed, secretsPut, secretsRemoved };
}

/** Every secret that is used, with a resource that uses it. */
export function usedSecrets(resources: Iterable<StoredResource>): Map<string, StoredResource> {
  const used = new Map<string, StoredResource>();
  for (const resource of resources)
    for (const { name } of secretsOf(resource, resource.definition)) used.set(name, resource);
  return used;
}

function generatedBy(resource: StoredResource | undefined): string[] {
  if (resource === undefined) return [];
  return secretsOf(resource, resource.definition).flatMap(({ name, place }) =>
    name === place.secretName ? [name] : [],
  );
}

function hideLiterals(resource: { kind: Kind; id: string }, definition: Members) {
  const literals = new Map<string, [name: string, value: string]>();
  const hidden = mapSecretPlaces(resource, definition, (value, { path, secretName, hides }) => {
    if (typeof value !== 'string' || !hides(value)) return value;
    literals.set(path.join('.'), [secretName, value]);
    return { secret: secretName };
  });
  return { hidden, literals };
}

/** The members that differ, with dots in the names of nested ones. Lists are compared as a whole. */
function differences(before: unknown, after: unknown, path: string[] = []): MemberChange[] {
  if (isMembers(before) && isMembers(after) && !isRef(before) && !isRef(after)) {
    const names = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...names].sort().flatMap((name) => differences(before[name], after[name], [...path, name]));
  }
  if (canonical(before) === canonical(after)) return [];
  const change: MemberChange = { member: path.join('.') };
  if (before !== undefined) change.before = before;
  if (after !== undefined) change.after = after;
  return [change];
}

function isRef(value: Members): boolean {
  return typeof value.secret === 'string';
}

/** JSON with sorted members: jsonb does not keep their order. */
function canonical(value: unknown): string | undefined {
  return JSON.stringify(value, (_, each: unknown) =>
    isMembers(each) ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1))) : each,
  );
}

function inOrder(changes: Change[]): Change[] {
  const order: string[] = ['secret', ...kinds];
  return changes.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind) || (a.id < b.id ? -1 : 1));
}
