import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { routePath } from 'hono/route';
import { deniedRequests } from '../../src/catalog/audit-log/denied-requests.ts';
import { acquireSlot } from '../../src/core/concurrency-limit.ts';
import { ApiError } from '../../src/core/errors.ts';
import { currentActor } from '../../src/core/request-context.ts';
import { authenticate, isKnown } from '../../src/keys/find-key.ts';
import { isSame, type RowFilter, type Scope } from '../../src/keys/key.ts';
import type { ReadScope } from '../../src/query/execution/read-scope.ts';
import type { App } from './app.ts';

/** Who asks: the deployment's own key, which may do everything, or one that was made. */
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
    return this.#scopes[scope] !== undefined && !this.#isTooMuch(scope);
  }

  /** What the scope is for has all rows: exports, the quarantine. No such key is made any more. */
  #isTooMuch(scope: Scope): boolean {
    return scope === 'admin' && this.#rowFilter !== null;
  }

  /** Whether a scope covers a dataset, there or not. */
  covers(scope: Scope, dataset: string): boolean {
    const datasets = this.#scopes[scope];
    return this.has(scope) && (datasets === '*' || (datasets?.includes(dataset) ?? false));
  }

  /** What it reads under a scope. */
  reader(scope: Scope): ReadScope {
    return { reads: (dataset) => this.covers(scope, dataset), rowFilter: this.#rowFilter };
  }

  /** The datasets of a scope; undefined for all there are. */
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
 * Lets only holders of a key with one of the scopes go on, and where the path names a dataset, only those that list it:
 * for the others it is as if it were not there. What a body names is for `requireDataset`.
 */
export function requireScopes(scopes: Scope[], { allDatasets = false }: { allDatasets?: boolean | undefined } = {}) {
  return createMiddleware<App>(async (c, next) => {
    const caller = await callerOf(c);
    c.set('key', caller);
    currentActor().actor = caller.id;
    if (!scopes.some((scope) => caller.has(scope))) {
      const why = scopes.includes('admin') ? '; one with a row filter never has the scope admin' : '';
      throw refused(c, new ApiError('forbidden', `This key has not the scope ${scopes.join(' or ')}${why}.`));
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

/** Throws TimestoreError `not-found` for a dataset that the key does not list, there or not. */
export function requireDataset(c: Context<App>, scopes: Scope[], dataset: string): void {
  if (scopes.some((scope) => c.get('key').covers(scope, dataset))) return;
  throw refused(c, new ApiError('not-found', `There is no dataset ${dataset}.`), dataset);
}

/** Throws TimestoreError `forbidden` for a key that does not list all datasets: what it asks for is of all. */
export function requireAllDatasets(c: Context<App>, scopes: Scope[]): void {
  if (scopes.some((scope) => c.get('key').coversAll(scope))) return;
  const detail = `This is of all datasets, and the key has the scope ${scopes.join(' or ')} for some of them.`;
  throw refused(c, new ApiError('forbidden', detail));
}

async function callerOf(c: Context<App>): Promise<Caller> {
  const ctx = c.get('ctx');
  const [, sent] = /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '') ?? [];
  if (sent === undefined) {
    throw refused(c, new ApiError('unauthenticated', 'Send a key: Authorization: Bearer <key>.'));
  }
  if (isSame(sent, ctx.config.TIMESTORE_ADMIN_KEY)) return new Caller(ownId, everything, null);
  // Each id that this instance does not know costs two stores a question.
  if (!isKnown(ctx, sent)) await requireRate(c, { id: `new ${c.req.header('cf-connecting-ip') ?? ''}` });
  const key = await authenticate(ctx, sent);
  if (key === undefined) throw refused(c, new ApiError('unauthenticated', 'This key is not valid here.'));
  return new Caller(key.id, key.scopes, key.rowFilter);
}

/** The deployment's own key, which has no limits. */
const ownId = 'admin';

/** What the binding's limit is per; it is told in `wrangler.toml` too. */
const ratePeriod_s = 60;

/** Throws TimestoreError `too-many-requests` over the limit that the deployment has for each key, where it has one. */
async function requireRate(c: Context<App>, { id }: { id: string }): Promise<void> {
  const limiter = c.env.RATE_LIMITER;
  if (limiter === undefined || id === ownId) return;
  const { success } = await limiter.limit({ key: id });
  if (success) return;
  throw new ApiError('too-many-requests', `More requests came with this key than it may send in a minute.`, {
    headers: { RateLimit: `"requests";r=0;t=${ratePeriod_s}` },
    retryAfterMs: ratePeriod_s * 1_000,
  });
}

/** Has a refused access put on record. */
function refused(c: Context<App>, error: ApiError, dataset = c.req.param('dataset')): ApiError {
  const ctx = c.get('ctx');
  const { actor, requestId } = currentActor();
  const action = `${c.req.method} ${routePath(c)}`;
  const work = deniedRequests(ctx).note(ctx, { actor, requestId, action, dataset, code: error.code });
  if (work !== undefined) c.executionCtx.waitUntil(work);
  return error;
}
