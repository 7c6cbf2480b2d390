import { ApiError } from '../../core/errors.ts';
import { limitExceeded } from '../../core/invalid-request.ts';
import { type Limits, limitVariable } from '../../core/limits.ts';
import { invalidValues } from '../../core/request-text.ts';
import type { MonitoringDeps } from '../deps.ts';
import { collections, type Kind, kinds, nameOf } from '../resources/kinds.ts';
import { secretsOf } from '../resources/secret-places.ts';
import { findCycle } from './cycle.ts';
import { definitionProblems } from './definition-problems.ts';
import type { Problem } from './definition-texts.ts';
import { type Plan, usedSecrets } from './plan.ts';
import { referencesOf } from './references.ts';
import { keyOf, type StoredResource } from './stored.ts';

const countLimits = {
  service: 'monitor_services_max',
  relation: 'monitor_relations_max',
  rule: 'monitor_rules_max',
  channel: 'monitor_channels_max',
  silence: 'monitor_silences_max',
  maintenance: 'monitor_maintenances_max',
  page: 'monitor_pages_max',
  slo: 'monitor_slos_max',
} as const satisfies Record<Kind, keyof Limits>;

const users_max = 10;

/**
 * Checks a planned change against the whole configuration that it leads to.
 *
 * @param pathOf the path of a member in the request, for the problems
 * @throws ApiError `invalid-request` with all problems; `inconsistent-change` for a cycle of relations, and for a resource or a secret that
 *   others still use; `limit-exceeded`
 */
export function checkPlan(
  ctx: MonitoringDeps,
  plan: Plan,
  pathOf: (resource: { kind: Kind; id: string }, member: string) => string,
): void {
  const { put, next, secretsPut } = plan;
  requireUnused(plan);
  const problems: Problem[] = [];
  const changedSecrets = new Set(secretsPut.map(({ name }) => name));
  const changed = new Set(put);
  for (const resource of next.resources.values()) {
    const usesChanged = () => secretsOf(resource, resource.definition).some(({ name }) => changedSecrets.has(name));
    if (!changed.has(resource) && (changedSecrets.size === 0 || !usesChanged())) continue;
    const own = [...missing(resource, plan), ...definitionProblems(ctx, resource, next.secrets)];
    problems.push(...own.map(({ path, message }) => ({ path: pathOf(resource, path), message })));
  }
  if (problems.length > 0) throw invalidValues(problems);
  requireAcyclic(plan);
  requireLimits(ctx.config.limits, plan);
}

function missing(resource: StoredResource, { next }: Plan): Problem[] {
  const references = referencesOf(resource.kind, resource.definition).filter(
    (each) => !next.resources.has(keyOf(each)),
  );
  const secrets = secretsOf(resource, resource.definition).filter(({ name }) => !next.secrets.has(name));
  return [
    ...references.map((each) => ({ path: each.path, message: `${nameOf(each)} does not exist` })),
    ...secrets.map(({ name, place }) => ({ path: place.path.join('.'), message: `Secret ${name} does not exist` })),
  ];
}

/** Throws ApiError `inconsistent-change` for a removed resource or secret that others still use. */
function requireUnused({ removed, secretsRemoved, next }: Plan): void {
  if (removed.length > 0) {
    const gone = new Set(removed.map(keyOf));
    const users = new Map<string, string[]>();
    for (const { kind, id, definition } of next.resources.values()) {
      for (const key of new Set(referencesOf(kind, definition).map(keyOf))) {
        if (gone.has(key)) users.set(key, [...(users.get(key) ?? []), `${kind} ${id}`]);
      }
    }
    const used = removed.find((each) => users.has(keyOf(each)));
    if (used !== undefined) throw inUse(nameOf(used), users.get(keyOf(used)) ?? []);
  }
  const names = usedSecrets(next.resources.values());
  const secret = secretsRemoved.find((name) => names.has(name));
  if (secret === undefined) return;
  const users = [...next.resources.values()].filter((each) =>
    secretsOf(each, each.definition).some(({ name }) => name === secret),
  );
  throw inUse(
    `Secret ${secret}`,
    users.map(({ kind, id }) => `${kind} ${id}`),
  );
}

function inUse(what: string, users: string[]): ApiError {
  const more = users.length > users_max ? ` and ${users.length - users_max} more` : '';
  return new ApiError('inconsistent-change', `${what} is in use by ${users.slice(0, users_max).join(', ')}${more}.`, {
    extra: { usedBy: users.slice(0, users_max) },
  });
}

/** Suppression follows enabled dependencies. `part_of` says what contains what, which may run the other way. */
function requireAcyclic({ put, next }: Plan): void {
  if (!put.some(({ kind }) => kind === 'relation')) return;
  const relations = [...next.resources.values()].filter(
    ({ kind, definition }) => kind === 'relation' && definition.enabled,
  );
  for (const isPart of [false, true]) {
    const cycle = findCycle(
      relations
        .filter(({ definition }) => (definition.relationType === 'part_of') === isPart)
        .map(({ definition }) => ({
          source: String(definition.sourceServiceId),
          target: String(definition.targetServiceId),
        })),
    );
    if (cycle !== undefined) {
      throw new ApiError('inconsistent-change', `The relations have a cycle: ${cycle.join(' → ')}.`, {
        extra: { cycle },
      });
    }
  }
}

/** Throws ApiError `limit-exceeded`. A change that creates nothing of a kind may stay above its limit. */
function requireLimits(limits: Limits, { changes, put, next }: Plan): void {
  for (const kind of kinds) {
    if (!changes.some((each) => each.kind === kind && each.action === 'create')) continue;
    const count = [...next.resources.values()].filter((each) => each.kind === kind).length;
    requireAtMost(limits, countLimits[kind], count, `${collections[kind]} of a dataset`);
  }
  if (changes.some(({ kind, action }) => kind === 'secret' && action === 'create') || put.length > 0) {
    requireAtMost(limits, 'monitor_secrets_max', next.secrets.size, 'secrets of a dataset');
  }
  for (const resource of put) {
    const bytes = Buffer.byteLength(JSON.stringify(resource.definition));
    requireAtMost(
      limits,
      'monitor_definition_bytes_max',
      bytes,
      `bytes of the definition of ${resource.kind} ${resource.id}`,
    );
  }
}

function requireAtMost(limits: Limits, name: keyof Limits, count: number, what: string): void {
  if (count <= limits[name]) return;
  throw limitExceeded(`${count} ${what}: at most ${limits[name]} are allowed (${limitVariable(name)})`);
}
