import { ApiError } from '../../core/errors.ts';
import type { MonitoringDeps } from '../deps.ts';
import { nameOf } from '../resources/kinds.ts';
import { changeConfig } from './change-config.ts';

/** Stores the value of a secret. Throws as `changeConfig`, also for a value that a resource that uses it does not accept. */
export async function putSecret(ctx: MonitoringDeps, dataset: string, name: string, value: string): Promise<void> {
  await changeConfig(ctx, dataset, {
    decide: () => ({ resources: [], secrets: new Map([[name, value]]) }),
    action: () => 'secret.put',
    pathOf: (resource, member) => `${nameOf(resource)}: ${member}`,
  });
}

/** Removes a secret. Throws ApiError `not-found`, `inconsistent-change` if resources use it; as `changeConfig`. */
export async function removeSecret(ctx: MonitoringDeps, dataset: string, name: string): Promise<void> {
  await changeConfig(ctx, dataset, {
    decide: ({ secrets }) => {
      if (!secrets.has(name)) throw new ApiError('not-found', `Secret ${name} not found.`);
      return { resources: [], secrets: new Map([[name, null]]) };
    },
    action: () => 'secret.delete',
    pathOf: (_, member) => member,
  });
}
