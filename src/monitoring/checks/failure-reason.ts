import type { Reason } from './observation.ts';

/** Cloudflare's own statuses for failures between it and the target, in place of an exception. */
const statusReasons: Record<number, Reason> = {
  520: 'connection',
  521: 'refused',
  522: 'timeout',
  523: 'connection',
  524: 'timeout',
  525: 'tls',
  526: 'tls',
  527: 'connection',
  530: 'dns',
};

/** The failure that a status stands for; undefined for an answer of the target. */
export function reasonOfStatus(status: number): Reason | undefined {
  return statusReasons[status];
}

const patterns: [RegExp, Reason][] = [
  [/TimeoutError|AbortError|timed? ?out|ETIMEDOUT|UND_ERR_\w*TIMEOUT/i, 'timeout'],
  [/ECONNREFUSED|connection refused/i, 'refused'],
  [/ENOTFOUND|EAI_AGAIN|DNS/i, 'dns'],
  [/CERT|TLS|SSL|EPROTO/i, 'tls'],
];

/** The failure of a request or a connection, from the error of the runtime. */
export function reasonOfError(error: unknown): Reason {
  const texts: string[] = [];
  for (let each = error, depth = 0; each instanceof Error && depth < 5; each = each.cause, depth += 1) {
    texts.push(each.name, each.message, 'code' in each ? String(each.code) : '');
  }
  const text = texts.join(' ');
  return patterns.find(([pattern]) => pattern.test(text))?.[1] ?? 'connection';
}
