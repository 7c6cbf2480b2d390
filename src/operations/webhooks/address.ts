import type { Config } from '../../core/config.ts';

type Settings = Pick<Config, 'TIMESTORE_LOCAL' | 'TIMESTORE_WEBHOOK_HOSTS'>;

/** At least two labels, because a single label is resolved in the local network. The last label is not a number. */
const publicName = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+(?<last>[a-z][a-z0-9-]{0,61}[a-z0-9])$/;

/** Last labels that cannot be registered publicly: names under them belong to private networks. */
const privateNames = new Set([
  'arpa',
  'corp',
  'home',
  'internal',
  'intranet',
  'invalid',
  'lan',
  'local',
  'localdomain',
  'localhost',
  'private',
  'svc',
  'test',
]);

/**
 * Why a webhook cannot have this address; undefined for a valid one. The administrator of a dataset must not use webhooks to
 * scan the Worker's network by statuses and times.
 *
 * `URL` normalizes all notations of an address: numbers in any base, Unicode, percent signs, case. The addresses that a public
 * name resolves to are unknown here; by default workerd connects to public addresses only.
 */
export function addressProblem(text: string, settings: Settings): string | undefined {
  const { TIMESTORE_LOCAL: isLocal, TIMESTORE_WEBHOOK_HOSTS: hosts } = settings;
  if (!URL.canParse(text)) return 'it is not a URL';
  const url = new URL(text);
  const host = url.hostname.replace(/\.$/, '');
  if (url.username !== '' || url.password !== '') return 'it must not contain user or password; deliveries are signed';
  if (isLocal && isLoopback(host) && /^https?:$/.test(url.protocol)) return undefined;
  if (url.protocol !== 'https:') return 'it must begin with https://';
  const authority = url.port === '' ? host : `${host}:${url.port}`;
  if (hosts !== undefined) {
    if (hosts.some((each) => (each.startsWith('*.') ? authority.endsWith(each.slice(1)) : authority === each)))
      return undefined;
    return `${authority} is not among the hosts that this deployment sends events to (TIMESTORE_WEBHOOK_HOSTS)`;
  }
  if (url.port !== '') return `port ${url.port} is not allowed, only 443`;
  const { last } = publicName.exec(host)?.groups ?? {};
  if (last === undefined) return `${host} is not the full name of a public host, such as hooks.example.com`;
  if (privateNames.has(last)) return `${host} is a name of a private network`;
  return undefined;
}

function isLoopback(host: string): boolean {
  return host === '[::1]' || /^127(?:\.[0-9]{1,3}){3}$/.test(host) || /^(?:.+\.)?localhost$/.test(host);
}
