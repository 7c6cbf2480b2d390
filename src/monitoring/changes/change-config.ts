import { setTimeout as delay } from 'node:timers/promises';
import { markConfigDirty } from '../../catalog/monitoring-copies.ts';
import { ApiError } from '../../core/errors.ts';
import type { MonitoringDeps } from '../deps.ts';
import type { Kind } from '../resources/kinds.ts';
import { checkPlan } from './check-plan.ts';
import { commitPlan, type Written } from './commit.ts';
import { type Change, type Plan, planChanges, type Wanted } from './plan.ts';
import { readStored, type Stored } from './stored.ts';

const attempts_max = 20;
const wait_ms = 25;

export type Changed = {
  /** Of the configuration after the change; before it with `dryRun`. */
  revision: number;
  plan: Plan;
  stored: Stored;
  written: Written[];
};

/**
 * Changes the configuration of a dataset: reads it, plans the change, checks the result as a whole, and writes it if no other
 * change came in between; otherwise it starts over. A plan without changes writes nothing.
 *
 * @param options `decide`: the change for the present configuration, may throw; `action`: of the audit line; `pathOf`: the path of
 *   a member in the request, for the problems
 * @throws what `decide` and `checkPlan` throw; ApiError `conflict` after many concurrent changes; StoreError: the change may be
 *   written, and a repetition completes it
 */
export async function changeConfig(
  ctx: MonitoringDeps,
  dataset: string,
  {
    decide,
    action,
    pathOf,
    dryRun = false,
  }: {
    decide: (stored: Stored) => Wanted;
    action: (plan: Plan) => string;
    pathOf: (resource: { kind: Kind; id: string }, member: string) => string;
    dryRun?: boolean;
  },
): Promise<Changed> {
  for (let attempt = 1; attempt <= attempts_max; attempt += 1) {
    const stored = await readStored(ctx, dataset);
    const plan = planChanges(stored, decide(stored));
    checkPlan(ctx, plan, pathOf);
    const { revision } = stored;
    if (dryRun || plan.changes.length === 0) return { revision, plan, stored, written: [] };
    const line = { action: action(plan), detail: auditDetail(plan.changes, revision + 1) };
    await markConfigDirty(ctx, dataset);
    const written = await commitPlan(ctx, dataset, revision, plan, line);
    if (written !== undefined) return { revision: revision + 1, plan, stored, written };
    await delay(Math.random() * wait_ms * attempt);
  }
  throw new ApiError('conflict', `The monitoring configuration of dataset ${dataset} changes too often. Try again.`, {
    retryAfterMs: 1_000,
  });
}

/** A single change has its values; of many, only the first ones are named. */
function auditDetail(changes: Change[], revision: number): object {
  if (changes.length === 1) return { revision, changes };
  const named = changes.slice(0, 500).map(({ action, kind, id, members }) => {
    return { action, kind, id, members: members.map(({ member }) => member) };
  });
  return { revision, count: changes.length, changes: named };
}
