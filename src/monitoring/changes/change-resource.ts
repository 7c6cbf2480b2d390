import { changedSince } from '../../catalog/datasets.ts';
import { assertDefined } from '../../core/assert.ts';
import { ApiError } from '../../core/errors.ts';
import { currentActor } from '../../core/request-context.ts';
import { invalidValues } from '../../core/request-text.ts';
import type { MonitoringDeps } from '../deps.ts';
import { definitions, type Kind, nameOf } from '../resources/kinds.ts';
import { isMembers } from '../resources/secret-places.ts';
import { type Resource, readResource } from '../resources/store.ts';
import { changeConfig } from './change-config.ts';
import { keyOf, type Members, type Stored, type StoredResource } from './stored.ts';

type Target = { dataset: string; kind: Kind; id: string; revision?: number | undefined };

/**
 * Creates or replaces a resource. A definition that is stored already changes nothing.
 *
 * @param target with the revision that the resource must have, if any
 * @param definition with its defaults
 * @throws ApiError `precondition-failed`; as `changeConfig`
 */
export async function putResource(ctx: MonitoringDeps, target: Target, definition: Members): Promise<Resource> {
  return await write(ctx, target, () => definition);
}

/**
 * Changes members of a resource as RFC 7396 merges JSON: null removes a member, a list is replaced.
 *
 * @throws ApiError `not-found`, `invalid-request`; as `putResource`
 */
export async function patchResource(ctx: MonitoringDeps, target: Target, patch: Members): Promise<Resource> {
  return await write(ctx, target, (before) => {
    if (before === undefined) throw notFound(target);
    const { success, data, error } = definitions[target.kind].safeParse(merge(before.definition, patch));
    if (success) return data;
    throw invalidValues(error.issues.map(({ path, message }) => ({ path: path.join('.'), message })));
  });
}

/** Removes a resource. Throws ApiError `not-found`, `precondition-failed`, `inconsistent-change` if others use it; as `changeConfig`. */
export async function removeResource(ctx: MonitoringDeps, target: Target): Promise<void> {
  const { dataset, kind, id } = target;
  await changeConfig(ctx, dataset, {
    decide: (stored) => {
      if (requireRevision(stored, target) === undefined) throw notFound(target);
      return { resources: [{ kind, id, definition: null }], secrets: new Map() };
    },
    action: () => `${kind}.delete`,
    pathOf: (_, member) => member,
  });
}

async function write(
  ctx: MonitoringDeps,
  target: Target,
  definitionAfter: (before: StoredResource | undefined) => Members,
): Promise<Resource> {
  const { dataset, kind, id } = target;
  const { plan, written } = await changeConfig(ctx, dataset, {
    decide: (stored) => {
      const definition = definitionAfter(requireRevision(stored, target));
      return { resources: [{ kind, id, definition }], secrets: new Map() };
    },
    action: ({ changes }) => `${kind}.${changes[0]?.action ?? 'change'}`,
    // Other resources are checked only where they use a secret that this change replaces.
    pathOf: (resource, member) =>
      resource.kind === kind && resource.id === id ? member : `${nameOf(resource)}: ${member}`,
  });
  const [row] = written;
  if (row === undefined) return await readResource(ctx, dataset, kind, id);
  const { definition } = assertDefined(plan.put[0], 'a written resource is in its plan');
  return {
    kind,
    id,
    definition: definition as Resource['definition'],
    revision: Number(row.revision),
    actor: currentActor().actor,
    createdAt_ms: Number(row.createdAt_ms),
    changedAt_ms: Number(row.changedAt_ms),
  };
}

/** Throws ApiError `precondition-failed` for a resource with another revision, and for one that does not exist. */
function requireRevision({ resources }: Stored, target: Target): StoredResource | undefined {
  const found = resources.get(keyOf(target));
  const { revision } = target;
  if (revision === undefined || found?.revision === revision) return found;
  throw changedSince(nameOf(target), `"${revision}"`, found === undefined ? 'absent' : `"${found.revision}"`);
}

function notFound(target: Target): ApiError {
  return new ApiError('not-found', `${nameOf(target)} not found.`);
}

/** RFC 7396. */
function merge(before: unknown, patch: unknown): unknown {
  if (!isMembers(patch)) return patch;
  const merged = new Map(isMembers(before) ? Object.entries(before) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else merged.set(name, merge(merged.get(name), value));
  }
  return Object.fromEntries(merged);
}
