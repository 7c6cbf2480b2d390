import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { TimestoreError } from '../src/errors.ts';
import { authenticate } from '../src/keys/find-key.ts';
import { isSame, type RowFilter, type Scope } from '../src/keys/key.ts';
import type { Reader } from '../src/query/reader.ts';
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
    return this.#scopes[scope] !== undefined;
  }

  /** Whether a scope covers a dataset, there or not. */
  covers(scope: Scope, dataset: string): boolean {
    const datasets = this.#scopes[scope];
    return datasets === '*' || (datasets?.includes(dataset) ?? false);
  }

  /** What it reads under a scope. */
  reader(scope: Scope): Reader {
    return { reads: (dataset) => this.covers(scope, dataset), rowFilter: this.#rowFilter };
  }

  coversAll(scope: Scope): boolean {
    return this.#scopes[scope] === '*';
  }
}

const everything = { ingest: '*', query: '*', sql: '*', admin: '*' } satisfies Record<Scope, '*'>;

/**
 * Lets only holders of a key with one of the scopes go on, and where the path names a dataset, only those that list it:
 * for the others it is as if it were not there. What a body names is for `requireDataset`.
 */
export function requireScope(...scopes: Scope[]) {
  return createMiddleware<App>(async (c, next) => {
    const caller = await callerOf(c);
    c.set('key', caller);
    if (!scopes.some((scope) => caller.has(scope))) {
      throw new TimestoreError('forbidden', `This key has not the scope ${scopes.join(' or ')}.`);
    }
    const dataset = c.req.param('dataset');
    if (dataset !== undefined) requireDataset(c, scopes, dataset);
    await next();
  });
}

/** Throws TimestoreError `not-found` for a dataset that the key does not list, there or not. */
export function requireDataset(c: Context<App>, scopes: Scope[], dataset: string): void {
  if (!scopes.some((scope) => c.get('key').covers(scope, dataset))) throw noDataset(dataset);
}

/** Throws TimestoreError `forbidden` for a key that does not list all datasets: what it asks for is of all. */
export function requireAllDatasets(c: Context<App>, scope: Scope): void {
  if (c.get('key').coversAll(scope)) return;
  throw new TimestoreError(
    'forbidden',
    `This is of all datasets, and the key has the scope ${scope} for some of them.`,
  );
}

async function callerOf(c: Context<App>): Promise<Caller> {
  const timestore = c.get('timestore');
  const [, sent] = /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '') ?? [];
  if (sent === undefined) {
    throw new TimestoreError('unauthenticated', 'Send a key: Authorization: Bearer <key>.');
  }
  if (isSame(sent, timestore.config.TIMESTORE_ADMIN_KEY)) return new Caller('admin', everything, null);
  const key = await authenticate(timestore, sent);
  if (key === undefined) throw new TimestoreError('unauthenticated', 'This key is not valid here.');
  return new Caller(key.id, key.scopes, key.rowFilter);
}

function noDataset(dataset: string): TimestoreError {
  return new TimestoreError('not-found', `There is no dataset ${dataset}.`);
}
