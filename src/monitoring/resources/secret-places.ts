/**
 * The members of definitions that may hold secrets. A literal that must not be shown is stored as a secret with a name of its
 * own, and the definition names it.
 *
 * @module
 */
import type { Kind } from './kinds.ts';

type Members = Record<string, unknown>;

export type SecretPlace = {
  path: string[];
  /** The name of a secret for the literal of this place. Header names have no dot, so that no two places share a name. */
  secretName: string;
  /** Whether a literal of this place is stored as a secret. */
  hides(text: string): boolean;
};

/** Header fields whose values are public. */
const plainHeader = /^(?:accept(?:-.*)?|content-type|user-agent)$/i;

const always = () => true;
const never = () => false;

/** A query and credentials often contain keys. */
export function hasSecretPart(text: string): boolean {
  if (!URL.canParse(text)) return /[?@]/.test(text);
  const { username, password, search } = new URL(text);
  return username !== '' || password !== '' || search !== '';
}

/** A copy of a definition, valid or not, with the values that `replace` returns for its secret places. */
export function mapSecretPlaces(
  { kind, id }: { kind: Kind; id: string },
  definition: Members,
  replace: (value: unknown, place: SecretPlace) => unknown,
): Members {
  const at = (owner: Members, before: string[], member: string, last: string, hides: SecretPlace['hides']) =>
    owner[member] === undefined
      ? {}
      : {
          [member]: replace(owner[member], {
            path: [...before, member],
            secretName: `${kind}.${id}.${last}`,
            hides,
          }),
        };
  const headersOf = (owner: Members, before: string[]) => {
    if (!isMembers(owner.headers)) return {};
    const { headers } = owner;
    const replaced = Object.keys(headers).map((name) =>
      at(headers, [...before, 'headers'], name, `header-${name}`, plainHeader.test(name) ? never : always),
    );
    return { headers: Object.assign({}, ...replaced) as Members };
  };
  if (kind === 'service' && isMembers(definition.statusConfig)) {
    const check = definition.statusConfig;
    const before = ['statusConfig'];
    const statusConfig = Object.assign(
      { ...check },
      at(check, before, 'url', 'url', hasSecretPart),
      headersOf(check, before),
      at(check, before, 'body', 'body', never),
    );
    return { ...definition, statusConfig };
  }
  if (kind !== 'channel') return definition;
  return Object.assign(
    { ...definition },
    at(definition, [], 'url', 'url', always),
    at(definition, [], 'routingKey', 'routingKey', always),
    headersOf(definition, []),
    at(definition, [], 'signingSecret', 'signingSecret', never),
  );
}

/** Names of the secrets that a definition refers to, each with its place. */
export function secretsOf(
  resource: { kind: Kind; id: string },
  definition: Members,
): { name: string; place: SecretPlace }[] {
  const found: { name: string; place: SecretPlace }[] = [];
  mapSecretPlaces(resource, definition, (value, place) => {
    if (isMembers(value) && typeof value.secret === 'string') found.push({ name: value.secret, place });
    return value;
  });
  return found;
}

export function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
