import * as z from 'zod';
import { readText } from './read-body.ts';

/** Codes of a DNS answer. The rest have a number only. */
const rcodes = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];

const answerSchema = z.object({
  Status: z.number(),
  Answer: z.array(z.object({ type: z.number(), data: z.string() })).default([]),
});

const typeNumbers: Record<string, number> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  CAA: 257,
};

const answerBytes_max = 64 * 1024;

export type Resolved = { rcode: string; records: string[] };

/**
 * Asks a resolver over HTTPS, in its JSON form. Names in records have no final dot.
 *
 * @throws Error if the resolver does not answer within the time of the signal, or answers something else
 */
export async function resolve(resolver: string, name: string, type: string, signal: AbortSignal): Promise<Resolved> {
  const url = new URL(resolver);
  url.searchParams.set('name', name);
  url.searchParams.set('type', type);
  const response = await fetch(url, { headers: { accept: 'application/dns-json' }, redirect: 'manual', signal });
  const { text } = await readText(response, answerBytes_max);
  if (response.status !== 200) throw new Error(`The resolver answered ${response.status}`);
  const { Status: status, Answer: answer } = answerSchema.parse(JSON.parse(text));
  const records = answer.filter((each) => each.type === typeNumbers[type]).map(({ data }) => recordText(type, data));
  return { rcode: rcodes[status] ?? String(status), records };
}

function recordText(type: string, data: string): string {
  // The parts of a long text are strings of their own.
  if (type === 'TXT') return data.replace(/^"|"$/g, '').replaceAll('" "', '');
  return data.replace(/\.$/, '').toLowerCase();
}
