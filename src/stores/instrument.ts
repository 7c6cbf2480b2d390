import type { StoreName } from '../core/errors.ts';
import { beginSpan } from '../core/trace.ts';
import type { Counters } from './counters.ts';

/** Wraps a store client: measures each call and records it as a span of the current trace. */
export function instrument<Client extends object>(store: StoreName, client: Client, counters: Counters): Client {
  return new Proxy(client, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function' || typeof name !== 'string') return member;
      return (...args: unknown[]) => {
        const result: unknown = member.apply(target, args);
        if (!(result instanceof Promise)) return result;
        return timed(store, name, result, counters);
      };
    },
  });
}

async function timed(store: StoreName, call: string, result: Promise<unknown>, counters: Counters): Promise<unknown> {
  const from_ms = performance.now();
  const end = beginSpan(`${store} ${call}`, { 'db.system.name': store });
  let failed = false;
  try {
    return await result;
  } catch (error) {
    failed = true;
    throw error;
  } finally {
    counters.observe('timestore_store_latency_ms', { store }, performance.now() - from_ms, false);
    if (failed) counters.add('timestore_store_errors_total', { store });
    end?.(failed);
  }
}
