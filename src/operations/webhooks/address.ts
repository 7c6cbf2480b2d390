import type { Config } from '../../core/config.ts';

type Settings = Pick<Config, 'TIMESTORE_LOCAL' | 'TIMESTORE_WEBHOOK_HOSTS'>;

/** Two labels or more: what has one is looked up in the network of whoever asks. The last one is no number. */
const publicName = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+(?<last>[a-z][a-z0-9-]{0,61}[a-z0-9])$/;

/** Last labels that nobody can register: a name under them is of a private network. */
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
 * Why no webhook may be at an address, undefined where one may. Whoever administers one dataset must not learn from statuses
 * and times what answers inside the network that the Worker runs in.
 *
 * URL has brought every way to write an address into one form: numbers in any base, Unicode, percent signs, case. What a public
 * name resolves to is not known here; workerd connects to public addresses only, unless its configuration says otherwise.
 */
export function addressProblem(text: string, settings: Settings): string | undefined {
  const { TIMESTORE_LOCAL: isLocal, TIMESTORE_WEBHOOK_HOSTS: hosts } = settings;
  if (!URL.canParse(text)) return 'it is not a URL';
  const url = new URL(text);
  const host = url.hostname.replace(/\.$/, '');
  if (url.username !== '' || url.password !== '') return 'leave user and password out; deliveries are signed';
  if (isLocal && isLoopback(host) && /^https?:$/.test(url.protocol)) return undefined;
  if (url.protocol !== 'https:') return 'it must begin with https://';
  const place = url.port === '' ? host : `${host}:${url.port}`;
  if (hosts !== undefined) {
    if (hosts.some((each) => (each.startsWith('*.') ? place.endsWith(each.slice(1)) : place === each)))
      return undefined;
    return `${place} is not among the hosts that this deployment sends events to (TIMESTORE_WEBHOOK_HOSTS)`;
  }
  if (url.port !== '') return `port ${url.port} cannot be used, only 443`;
  const { last } = publicName.exec(host)?.groups ?? {};
  if (last === undefined) return `${host} is not the full name of a public host, such as hooks.example.com`;
  if (privateNames.has(last)) return `${host} is a name of a private network`;
  return undefined;
}

function isLoopback(host: string): boolean {
  return host === '[::1]' || /^127(?:\.[0-9]{1,3}){3}$/.test(host) || /^(?:.+\.)?localhost$/.test(host);
}
