import type { CheckConfig } from '../resources/check.ts';
import type { SecretRef } from '../resources/common.ts';

/** A check that this deployment makes. A heartbeat is made by its service. */
export type ActiveCheck = Exclude<CheckConfig, { check: 'heartbeat' }>;

/** Names of the secrets that a check needs. */
export function secretNames(check: ActiveCheck): string[] {
  if (check.check !== 'http') return [];
  const values = [check.url, check.body, ...Object.values(check.headers)];
  return values.flatMap((value) => (typeof value === 'object' ? [value.secret] : []));
}

/** Undefined for a secret that does not exist. */
export function secretText(value: string | SecretRef, secrets: ReadonlyMap<string, string>): string | undefined {
  return typeof value === 'string' ? value : secrets.get(value.secret);
}

/** The host that failures of the network are counted by. */
export function hostOf(check: ActiveCheck, secrets: ReadonlyMap<string, string>): string {
  if (check.check === 'dns') return check.name;
  if (check.check !== 'http') return check.host;
  const url = secretText(check.url, secrets) ?? '';
  return URL.canParse(url) ? new URL(url).hostname : '';
}
