import { setTimeout as delay } from 'node:timers/promises';
import { slugPattern } from '../../core/identifiers.ts';
import { inEachInstance } from '../../core/instance-memory.ts';
import { describeError } from '../../core/log.ts';
import { recordPast } from '../../stores/postgres/record-past.ts';
import type { CatalogDeps } from '../deps.ts';

export type Refusal = { actor: string; requestId: string; action: string; dataset: string | undefined; code: string };

/** Lines of one kind within this time are combined, so that guessed keys do not cost a statement each. */
const together_ms = 1_000;
/** After this time another request records the lines, because the platform may have ended the first one. */
const given_up_ms = 5_000;
/** Maximum of distinct kinds in that time; all further ones share a line. */
const kinds_max = 500;

type Line = Refusal & { count: number };

/** Denied requests that are not recorded yet. */
export class DeniedRequests {
  #waiting = new Map<string, Line>();
  #promisedAt_ms = 0;

  /**
   * Notes a denied request.
   *
   * @returns the work that records it soon; undefined if such work is in progress
   */
  note(ctx: CatalogDeps, refusal: Refusal): Promise<void> | undefined {
    const isPromised = this.#waiting.size > 0 && ctx.now() - this.#promisedAt_ms < given_up_ms;
    const { actor, action, code } = refusal;
    // Only valid slugs, so that the audit log contains no arbitrary text of a URL.
    const dataset = slugPattern.test(refusal.dataset ?? '') ? refusal.dataset : undefined;
    let kind = JSON.stringify([actor, action, dataset, code]);
    const isBeyond = this.#waiting.size >= kinds_max && !this.#waiting.has(kind);
    if (isBeyond) kind = '';
    const line = this.#waiting.get(kind);
    if (line !== undefined) line.count += 1;
    else {
      const others = { actor: 'unknown', action: 'many', dataset: undefined };
      this.#waiting.set(kind, { ...refusal, dataset, ...(isBeyond && others), count: 1 });
    }
    if (isPromised) return undefined;
    this.#promisedAt_ms = ctx.now();
    return delay(together_ms).then(() => this.#record(ctx));
  }

  async #record(ctx: CatalogDeps): Promise<void> {
    const lines = [...this.#waiting.values()];
    this.#waiting = new Map();
    const record = (some: Line[]) =>
      ctx.postgres.rows(
        `insert into audit_log (actor, request_id, action, outcome, dataset, count, detail)
         select actor, "requestId", action, 'refused', dataset, count, jsonb_build_object('code', code)
           from jsonb_to_recordset($some::jsonb)
             as line(actor text, "requestId" text, action text, dataset text, count integer, code text)`,
        { some: JSON.stringify(some) },
      );
    // On failure the request log still has each request.
    try {
      const refused = await recordPast(lines, record);
      if (refused.length > 0) ctx.log({ event: 'refusals-unrecorded', alarm: true, kinds: refused.length });
    } catch (error) {
      ctx.log({ event: 'refusals-unrecorded', kinds: lines.length, ...describeError(error) });
    }
  }
}

export const deniedRequests = inEachInstance(() => new DeniedRequests());
