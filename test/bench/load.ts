import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'undici';

export type Request = { path: string; headers: Record<string, string>; body?: string; method?: 'GET' | 'POST' };

export type Load = {
  url: string;
  connections: number;
  /** When no further request is sent, or how many are. */
  seconds?: number;
  requests?: number;
  /** The request of number n. */
  request(n: number): Request;
  /** Whether an answer is a good one. Any other ends the round with an error. */
  isGood(status: number, body: string): boolean;
};

export type LoadResult = { requests: number; perSecond: number; p50_ms: number; p99_ms: number };

/** A closed loop: each connection sends its next request when it has its answer. */
export async function applyLoad(load: Load): Promise<LoadResult> {
  const {
    url,
    connections,
    seconds = Number.POSITIVE_INFINITY,
    requests = Number.POSITIVE_INFINITY,
    request,
    isGood,
  } = load;
  const times: number[] = [];
  const from = performance.now();
  const until = from + seconds * 1000;
  let sent = 0;
  const clients = Array.from({ length: connections }, () => new Client(url, { pipelining: 1 }));
  try {
    await Promise.all(
      clients.map(async (client, i) => {
        // Not all in one instant.
        await delay((i * 100) / connections);
        while (performance.now() < until && sent < requests) {
          const { method = 'POST', ...rest } = request(sent++);
          for (;;) {
            const begun = performance.now();
            const answer = await client.request({ method, ...rest });
            const body = await answer.body.text();
            if (answer.statusCode === 429 && performance.now() < until) {
              // As a client does: what was refused is not acknowledged, and is sent again.
              await delay(Number(answer.headers['retry-after'] ?? 1) * 1000);
              continue;
            }
            if (answer.statusCode === 429) break;
            times.push(performance.now() - begun);
            if (isGood(answer.statusCode, body)) break;
            throw new Error(`${url} answered ${answer.statusCode}: ${body.slice(0, 500)}`);
          }
        }
      }),
    );
  } finally {
    await Promise.all(clients.map((client) => client.destroy()));
  }
  const took_s = (performance.now() - from) / 1000;
  times.sort((a, b) => a - b);
  return {
    requests: times.length,
    perSecond: times.length / took_s,
    p50_ms: percentile(times, 0.5),
    p99_ms: percentile(times, 0.99),
  };
}

/** Of sorted values. */
export function percentile(sorted: number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
