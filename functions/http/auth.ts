import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { routePath } from 'hono/route';
import { deniedRequests } from '../../src/catalog/audit-log/denied-requests.ts';
import { acquireSlot } from '../../src/core/concurrency-limit.ts';
import { ApiError } from '../../src/core/errors.ts';
import { notFound } from '../../src/core/not-found.ts';
import { currentActor } from '../../src/core/request-context.ts';
import { authenticate, isKnown } from '../../src/keys/find-key.ts';
import { isSame, type RowFilter, type Scope } from '../../src/keys/key.ts';
import type { ReadScope } from '../../src/query/execution/read-scope.ts';
import type { App } from './app.ts';

/** The caller of a request: the deployment's admin key, which has every scope, or a created key. */
export class Caller {
  readonly id: string;
  readonly #scopes: Partial<Record<Scope, '*' | string[] | undefined>>;
  readonly #rowFilter: RowFilter | null;

  constructor(id: string, scopes: Partial<Record<Scope, '*' | string[] | undefined>>, rowFilter: RowFilter | null) {
    this.id = id;
    this.#scopes = scopes;
    this.#rowFilter = rowFilter;
  }

  has(scope: Scope): boolean {
    return this.#scopes[scope] !== undefined && !this.#exceedsRowFilter(scope);
  }

  /** Routes of the scope admin read all rows, in exports and in the quarantine. Keys created by old versions may combine both. */
  #exceedsRowFilter(scope: Scope): boolean {
    return scope === 'admin' && this.#rowFilter !== null;
  }

  /** Whether a scope covers a dataset, whether or not the dataset exists. */
  covers(scope: Scope, dataset: string): boolean {
    const datasets = this.#scopes[scope];
    return this.has(scope) && (datasets === '*' || (datasets?.includes(dataset) ?? false));
  }

  /** The rows and datasets that the caller can read with a scope. */
  reader(scope: Scope): ReadScope {
    return { reads: (dataset) => this.covers(scope, dataset), rowFilter: this.#rowFilter };
  }

  /** The datasets of a scope; undefined for all datasets. */
  listed(scope: Scope): string[] | undefined {
    const datasets = this.#scopes[scope];
    return datasets === '*' ? undefined : (datasets ?? []);
  }

  coversAll(scope: Scope): boolean {
    return this.has(scope) && this.#scopes[scope] === '*';
  }
}

const everything = { ingest: '*', query: '*', sql: '*', admin: '*' } satisfies Record<Scope, '*'>;

/**
 * Requires a key with one of the scopes. If the path names a dataset, the key must cover it; the response to another key is
 * the same as for a dataset that does not exist. `requireDataset` checks a dataset that a body names.
 *
 * @param options `allDatasets`: the key must have the scope for all datasets
 */
export function requireScopes(scopes: Scope[], { allDatasets = false }: { allDatasets?: boolean | undefined } = {}) {
  return createMiddleware<App>(async (c, next) => {
    const caller = await callerOf(c);
    c.set('key', caller);
    currentActor().actor = caller.id;
    if (!scopes.some((scope) => caller.has(scope))) {
      const why = scopes.includes('admin') ? ' A key with a row filter cannot have the scope admin.' : '';
      throw denied(c, new ApiError('forbidden', `This key does not have the scope ${scopes.join(' or ')}.${why}`));
    }
    await requireRate(c, caller);
    const dataset = c.req.param('dataset');
    if (dataset !== undefined) requireDataset(c, scopes, dataset);
    if (allDatasets) requireAllDatasets(c, scopes);
    const release = caller.id === ownId ? undefined : acquireSlot(c.get('ctx'), 'requests', caller.id);
    try {
      await next();
    } finally {
      release?.();
    }
  });
}

/**
 * Throws ApiError `not-found` for a dataset that the key does not cover, with the text of `readDataset` for a dataset that
 * does not exist, so that a key cannot find out which datasets exist.
 */
export function requireDataset(c: Context<App>, scopes: Scope[], dataset: string): void {
  if (scopes.some((scope) => c.get('key').covers(scope, dataset))) return;
  throw denied(c, notFound({ dataset }), dataset);
}

/** Throws ApiError `forbidden` for a key that has none of the scopes for all datasets. */
export function requireAllDatasets(c: Context<App>, scopes: Scope[]): void {
  if (scopes.some((scope) => c.get('key').coversAll(scope))) return;
  const detail = `This request needs the scope ${scopes.join(' or ')} for all datasets.`;
  throw denied(c, new ApiError('forbidden', detail));
}

async function callerOf(c: Context<App>): Promise<Caller> {
  const ctx = c.get('ctx');
  const [, sent] = /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '') ?? [];
  if (sent === undefined) {
    throw denied(
      c,
      new ApiError('unauthenticated', 'The request has no key. Send the header Authorization: Bearer <key>.'),
    );
  }
  if (isSame(sent, ctx.config.TIMESTORE_ADMIN_KEY)) return new Caller(ownId, everything, null);
  // An unknown key id costs a query in two stores, so the address of the client is limited too.
  if (!isKnown(ctx, sent)) await requireRate(c, { id: `new ${c.req.header('cf-connecting-ip') ?? ''}` });
  const key = await authenticate(ctx, sent);
  if (key === undefined) throw denied(c, new ApiError('unauthenticated', 'This key is not valid.'));
  return new Caller(key.id, key.scopes, key.rowFilter);
}

/** The id of the deployment's admin key, which has no rate limit. */
const ownId = 'admin';

/** The period of the rate limiter, as in `wrangler.toml`. */
const ratePeriod_s = 60;

/** Throws ApiError `too-many-requests` for a key over the rate limit of the deployment, if it has one. */
export async function requireRate(c: Context<App>, { id }: { id: string }): Promise<void> {
  const limiter = c.env.RATE_LIMITER;
  if (limiter === undefined || id === ownId) return;
  const { success } = await limiter.limit({ key: id });
  if (success) return;
  throw new ApiError('too-many-requests', 'This key has exceeded the number of requests allowed in a minute.', {
    headers: { RateLimit: `"requests";r=0;t=${ratePeriod_s}` },
    retryAfterMs: ratePeriod_s * 1_000,
  });
}

/** Records a denied request in the audit log. */
function denied(c: Context<App>, error: ApiError, dataset = c.req.param('dataset')): ApiError {
  const ctx = c.get('ctx');
  const { actor, requestId } = currentActor();
  const action = `${c.req.method} ${routePath(c)}`;
  const work = deniedRequests(ctx).note(ctx, { actor, requestId, action, dataset, code: error.code });
  if (work !== undefined) c.executionCtx.waitUntil(work);
  return error;
}
