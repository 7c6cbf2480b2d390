import { addressProblem } from '../../operations/webhooks/address.ts';
import { checkProblems } from '../checks/check-problems.ts';
import type { MonitoringDeps } from '../deps.ts';
import { headerText, type SecretRef } from '../resources/common.ts';
import type { Definitions } from '../resources/kinds.ts';
import { secretsOf } from '../resources/secret-places.ts';
import { type Problem, textProblems } from './definition-texts.ts';
import type { StoredResource } from './stored.ts';

/** What a schema cannot say of a definition: its texts in other languages, and its addresses. Messages contain no secret. */
export function definitionProblems(
  ctx: MonitoringDeps,
  { kind, id, definition }: StoredResource,
  secrets: ReadonlyMap<string, string>,
): Problem[] {
  const textOf = (value: string | SecretRef) => (typeof value === 'string' ? value : (secrets.get(value.secret) ?? ''));
  if (kind === 'channel') {
    const { url } = definition as Definitions['channel'];
    if (url === undefined) return headerProblems();
    const problem = addressProblem(textOf(url), ctx.config);
    // The host of a secret that this request does not contain stays unknown.
    const isOwn = typeof url === 'string' || url.secret === `channel.${id}.url`;
    const message = isOwn ? problem : problem && 'the secret is not an address that this deployment may call';
    return [...(message === undefined ? [] : [{ path: 'url', message }]), ...headerProblems()];
  }
  if (kind === 'service') {
    const { statusConfig } = definition as Definitions['service'];
    const inCheck = checkProblems(ctx.config, { id, check: statusConfig }, secrets);
    return [...textProblems(kind, definition), ...headerProblems(), ...inCheck];
  }
  return textProblems(kind, definition);

  function headerProblems(): Problem[] {
    return secretsOf({ kind, id }, definition).flatMap(({ name, place: { path } }) => {
      const isValid = !path.includes('headers') || headerText.test(secrets.get(name) ?? '');
      return isValid ? [] : [{ path: path.join('.'), message: `Secret ${name} is not one line of Latin-1 text` }];
    });
  }
}
