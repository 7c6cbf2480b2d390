import { changedSince } from '../../catalog/datasets.ts';
import type { MonitoringDeps } from '../deps.ts';
import { type Collection, collections, type Kind, kinds } from '../resources/kinds.ts';
import { changeConfig } from './change-config.ts';
import type { Change, WantedResource } from './plan.ts';
import type { Members, Stored } from './stored.ts';

/** A set of definitions with their defaults, by collection and id. */
export type ResourceSet = { [C in Collection]?: Record<string, Members> | undefined };

export type Applied = {
  revision: number;
  changes: Change[];
  /** Number of resources of the set that are stored as they are. */
  unchanged: number;
};

/**
 * Puts a whole set of resources, all or nothing.
 *
 * @param options `secrets`: values by name, stored with the set. `prune`: also removes resources that the set does not have;
 *   silences only if the set has the collection, because people make them in the course of an incident. `dryRun`: plans and
 *   checks only. `revision`: that the configuration must have, if any
 * @throws ApiError `precondition-failed`; as `changeConfig`
 */
export async function applySet(
  ctx: MonitoringDeps,
  dataset: string,
  set: ResourceSet,
  {
    secrets,
    prune,
    dryRun,
    revision: required,
  }: { secrets: Record<string, string>; prune: boolean; dryRun: boolean; revision: number | undefined },
): Promise<Applied> {
  const resources = kinds.flatMap((kind) =>
    Object.entries(set[collections[kind]] ?? {}).map(([id, definition]): WantedResource => ({ kind, id, definition })),
  );
  const { revision, plan } = await changeConfig(ctx, dataset, {
    decide: (stored) => {
      if (required !== undefined && stored.revision !== required) {
        throw changedSince(`The monitoring configuration of ${dataset}`, `"${required}"`, `"${stored.revision}"`);
      }
      const pruned = prune ? beyond(stored, set) : [];
      return { resources: [...resources, ...pruned], secrets: new Map(Object.entries(secrets)) };
    },
    action: () => 'monitor.apply',
    pathOf: ({ kind, id }, member) =>
      ['resources', collections[kind], id, member].filter((part) => part !== '').join('.'),
    dryRun,
  });
  return { revision, changes: plan.changes, unchanged: resources.length - plan.put.length };
}

function beyond(stored: Stored, set: ResourceSet): WantedResource[] {
  const isKept = (kind: Kind, id: string) => {
    const members = set[collections[kind]];
    return members === undefined ? kind === 'silence' : Object.hasOwn(members, id);
  };
  return [...stored.resources.values()].flatMap(({ kind, id }) =>
    isKept(kind, id) ? [] : [{ kind, id, definition: null }],
  );
}
