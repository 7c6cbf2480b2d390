import ipaddr from 'ipaddr.js';
import type { Config } from '../../core/config.ts';

export type GuardSettings = Pick<
  Config,
  'TIMESTORE_LOCAL' | 'TIMESTORE_MONITOR_PRIVATE' | 'TIMESTORE_MONITOR_OWN_HOSTS'
>;

/** Ranges that stay out of reach when private targets are allowed: the link-local one has the keys of cloud machines. */
const neverRanges = new Set(['linkLocal', 'unspecified', 'multicast', 'broadcast']);

/** Last labels of names in private networks. They cannot be registered publicly. */
const privateNames = new Set(
  'arpa corp home internal intranet invalid lan local localdomain localhost onion private svc test'.split(' '),
);

/** Ports below 1024 that HTTP checks may use. The others belong to services that a request could disturb. */
const webPorts = new Set([80, 443]);
const firstFreePort = 1024;

/**
 * Why a check cannot ask this URL; undefined for a valid one. Called when a check is written, and for each address that a run
 * asks: a redirect may lead elsewhere.
 */
export function urlProblem(text: string, settings: GuardSettings): string | undefined {
  if (!URL.canParse(text)) return 'it is not a URL';
  const url = new URL(text);
  if (!/^https?:$/.test(url.protocol)) return 'it must begin with http:// or https://';
  const port = url.port === '' ? undefined : Number(url.port);
  if (port !== undefined && port < firstFreePort && !webPorts.has(port)) {
    return `port ${port} is not allowed, only 80, 443 and ports from ${firstFreePort}`;
  }
  // Cloudflare answers a request to an address with error 1003.
  if (!settings.TIMESTORE_LOCAL && addressOf(url.hostname) !== undefined) {
    return 'it has an address in place of a name; use a name, or a check of kind tcp';
  }
  return hostProblem(url.hostname, settings);
}

/** Why a check cannot connect to a host and port; undefined for a valid target. */
export function socketProblem(host: string, port: number, settings: GuardSettings): string | undefined {
  // Workers open no connection to it, because it is the port of mail servers.
  if (port === 25) return 'port 25 is not allowed';
  return hostProblem(host, settings);
}

/** Why a host is out of reach. `URL` normalizes all notations of an address: numbers in any base, Unicode, percent signs. */
function hostProblem(text: string, settings: GuardSettings): string | undefined {
  const literal = ipaddr.IPv6.isValid(text) ? `[${text}]` : text;
  if (!URL.canParse(`http://${literal}/`)) return 'its host is not a name or an address';
  const url = new URL(`http://${literal}/`);
  const host = url.hostname.replace(/\.$/, '');
  if (host === '' || url.pathname !== '/' || url.port !== '' || url.username !== '' || url.search !== '') {
    return 'its host is not a name or an address';
  }
  const address = addressOf(host);
  if (address !== undefined) return addressProblem(address, settings);
  const labels = host.split('.');
  const last = labels.at(-1) ?? '';
  if (settings.TIMESTORE_LOCAL && last === 'localhost') return undefined;
  const own = settings.TIMESTORE_MONITOR_OWN_HOSTS ?? [];
  if (own.includes(host)) return 'it is a host of this deployment, which cannot ask itself';
  if (settings.TIMESTORE_MONITOR_PRIVATE) return undefined;
  if (labels.length < 2 || privateNames.has(last)) return 'its host is a name of a private network';
  return undefined;
}

/** Why a name is out of reach whose address this is, in any notation of DNS; undefined for a public address. */
export function resolvedProblem(address: string, settings: GuardSettings): string | undefined {
  return ipaddr.isValid(address) ? addressProblem(ipaddr.process(address), settings) : undefined;
}

type Address = ReturnType<typeof ipaddr.process>;

function addressOf(host: string): Address | undefined {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  return ipaddr.isValid(bare) ? ipaddr.process(bare) : undefined;
}

function addressProblem(address: Address, settings: GuardSettings): string | undefined {
  const range = address.range();
  if (range === 'unicast') return undefined;
  if (range === 'loopback' && settings.TIMESTORE_LOCAL) return undefined;
  if (settings.TIMESTORE_MONITOR_PRIVATE && !neverRanges.has(range)) return undefined;
  return 'its address is not public';
}
