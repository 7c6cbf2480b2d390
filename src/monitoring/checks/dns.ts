import type { ProbeOptions } from './http.ts';
import type { Attempt, Reason } from './observation.ts';
import { type Resolved, resolve } from './resolve.ts';

/**
 * Asks for the records of a name. A second resolver is asked where the first one fails: an answer of one of them only says
 * nothing about the name.
 */
export async function probeDns(
  resolvers: string[],
  { name, type }: { name: string; type: string },
  { timeout_ms, now }: ProbeOptions,
): Promise<Attempt> {
  const from_ms = now();
  const signal = AbortSignal.timeout(timeout_ms);
  const ask = async (resolver: string | undefined): Promise<Resolved | undefined> => {
    if (resolver === undefined) return undefined;
    return await resolve(resolver, name, type, signal).catch(() => undefined);
  };
  const unknown = (reason: Reason): Attempt => ({ reason, observed: { isConnected: false } });
  const first = await ask(resolvers[0]);
  let responseTime_ms = now() - from_ms;
  let found = first;
  if (first === undefined || first.rcode === 'SERVFAIL') {
    const from_second_ms = now();
    const second = await ask(resolvers[1]);
    if (first !== undefined && second !== undefined && second.rcode !== 'SERVFAIL') return unknown('resolvers');
    found = second ?? first;
    if (first === undefined) responseTime_ms = now() - from_second_ms;
  }
  if (found === undefined) return unknown('checker');
  return {
    reason: null,
    observed: { isConnected: true, responseTime_ms, dnsRcode: found.rcode, records: found.records.toSorted() },
  };
}
