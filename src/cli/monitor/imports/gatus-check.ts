import { durationText } from '../../../monitoring/duration.ts';
import { isMembers } from '../../../monitoring/resources/secret-places.ts';
import type { Path } from '../yaml-file.ts';
import { definedOnly, foreignDuration, type Imported } from './imported.ts';

type Members = Record<string, unknown>;

const minute_ms = 60_000;

/** Gatus fails an endpoint after this number of failures, and recovers it after this number of successes. */
export const defaults = { failures: 3, successes: 2 };

/**
 * The check of an endpoint, and a second one for the certificate of an HTTPS endpoint whose conditions name it. Undefined, and
 * named, for an endpoint without a counterpart.
 */
export function checkOf(
  endpoint: Members,
  path: Path,
  name: string,
  imported: Imported,
): { main: Members; certificate: Members | undefined } | undefined {
  const url = String(endpoint.url);
  const leaveOut = (member: string, message: string) =>
    imported.leaveOut([...path, member], `endpoint ${name}: ${message}`);
  const all = Array.isArray(endpoint.conditions) ? endpoint.conditions.map(String) : [];
  const conditions = all.flatMap((condition, i) => {
    const found = /\[(IP|DOMAIN_EXPIRATION)\]/.exec(condition)?.[0];
    if (found === undefined) return [{ condition, i }];
    imported.leaveOut([...path, 'conditions', i], `endpoint ${name}: ${found} has no counterpart`);
    return [];
  });
  const texts = (of: typeof conditions) => of.map(({ condition }) => condition);
  const common = { ...timesOf(endpoint, path, name, imported), attempts: 1 };
  if (isMembers(endpoint.dns)) {
    imported.leaveOutOthers(endpoint.dns, [...path, 'dns'], ['query-type', 'query-name'], `endpoint ${name}: dns`);
    leaveOut('url', 'the server that is asked; the deployment asks its own resolvers');
    const { 'query-name': queried, 'query-type': type } = endpoint.dns;
    return {
      main: { check: 'dns', name: queried, type, ...common, conditions: texts(conditions) },
      certificate: undefined,
    };
  }
  const [, scheme = '', rest = ''] = /^([a-z]+):\/\/(.*)$/s.exec(url) ?? [];
  if (scheme === 'tcp' || scheme === 'tls') {
    const [, host = '', port] = /^\[?([^\]]*?)\]?:(\d+)$/.exec(rest) ?? [];
    const check = scheme === 'tcp' ? 'tcp' : 'certificate';
    return {
      main: { check, host, port: Number(port), ...common, conditions: texts(conditions) },
      certificate: undefined,
    };
  }
  if (scheme !== 'http' && scheme !== 'https') {
    leaveOut(
      'url',
      `${scheme === '' ? 'an address without a scheme' : `${scheme}://`} has no counterpart; the endpoint is left out`,
    );
    return undefined;
  }
  if (endpoint.graphql === true) {
    leaveOut('graphql', 'graphql has no counterpart; the endpoint is left out');
    return undefined;
  }
  const client = isMembers(endpoint.client) ? endpoint.client : {};
  if (client.insecure === true) leaveOut('client', 'client.insecure has no counterpart: certificates are checked');
  const ofCertificate = conditions.filter(({ condition }) => condition.includes('[CERTIFICATE_EXPIRATION]'));
  const main = definedOnly({
    check: 'http',
    url,
    method: endpoint.method,
    headers: endpoint.headers,
    body: endpoint.body,
    followRedirects: client['ignore-redirect'] === true ? undefined : 5,
    ...common,
    conditions: texts(conditions.filter((each) => !ofCertificate.includes(each))),
  });
  return { main, certificate: certificateOf(url, texts(ofCertificate), common) };
}

function certificateOf(url: string, conditions: string[], common: Members): Members | undefined {
  if (conditions.length === 0 || !URL.canParse(url)) return undefined;
  const { hostname, port, protocol } = new URL(url);
  if (protocol !== 'https:') return undefined;
  return { check: 'certificate', host: hostname, port: port === '' ? 443 : Number(port), ...common, conditions };
}

/** The interval of Gatus is a minute by default; here a minute is the least one. */
function timesOf(endpoint: Members, path: Path, name: string, imported: Imported): Members {
  const client = isMembers(endpoint.client) ? endpoint.client : {};
  imported.leaveOutOthers(
    client,
    [...path, 'client'],
    ['timeout', 'insecure', 'ignore-redirect'],
    `endpoint ${name}: client`,
  );
  const interval_ms = foreignDuration(endpoint.interval ?? '60s');
  const isKept = interval_ms !== undefined && interval_ms >= minute_ms;
  if (!isKept) {
    const message = `endpoint ${name}: interval ${String(endpoint.interval)}: the least is a minute, which it has now`;
    imported.leaveOut([...path, 'interval'], message);
  }
  const timeout_ms = foreignDuration(client.timeout ?? '10s');
  if (timeout_ms === undefined) {
    imported.leaveOut([...path, 'client', 'timeout'], `endpoint ${name}: client.timeout is not a duration`);
  }
  return definedOnly({
    interval: isKept ? durationText(interval_ms) : '1m',
    timeout: timeout_ms === undefined ? undefined : durationText(timeout_ms),
  });
}
