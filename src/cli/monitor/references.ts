import type { Kind } from '../../monitoring/resources/kinds.ts';
import { isMembers, mapSecretPlaces } from '../../monitoring/resources/secret-places.ts';

type Members = Record<string, unknown>;

/** `path`: from the definition. */
export type ReferenceProblem = { path: (string | number)[]; message: string };

const namePattern = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** With more than one dollar sign, one is left out and the rest is plain text. */
const reference = /(\$+)\{([^}$]*)(\}?)/g;

/**
 * Replaces `${NAME}` in the members of a definition that may hold secrets. A value that is one reference becomes the secret of
 * that name; a longer text with references becomes a secret of its own, so that no answer shows a part of it.
 *
 * @param values of the file of secrets; undefined without such a file, and then each name is accepted
 * @param secrets receives the values that the definition needs
 */
export function expandReferences(
  resource: { kind: Kind; id: string },
  definition: Members,
  values: ReadonlyMap<string, string> | undefined,
  secrets: Map<string, string>,
): { definition: Members; problems: ReferenceProblem[] } {
  const problems: ReferenceProblem[] = [];
  const replaced = mapSecretPlaces(resource, definition, (value, { path, secretName }) => {
    if (typeof value !== 'string' || !hasReference(value)) return value;
    const text = value.replace(reference, (whole: string, signs: string, name: string, end: string) => {
      if (signs.length > 1) return whole.slice(1);
      const problem = problemOf(name, end, values);
      if (problem !== undefined) problems.push({ path, message: problem });
      return values?.get(name) ?? '';
    });
    const [, name] = /^\$\{([^}$]*)\}$/.exec(value) ?? [];
    secrets.set(name ?? secretName, text);
    return { secret: name ?? secretName };
  });
  const visit = (value: unknown, path: (string | number)[]): unknown => {
    if (typeof value === 'string') {
      if (hasReference(value)) {
        problems.push({ path, message: 'a secret cannot stand here, because answers show this member' });
      }
      return unescapeReferences(value);
    }
    if (Array.isArray(value)) return value.map((each, i) => visit(each, [...path, i]));
    if (!isMembers(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, visit(each, [...path, name])]));
  };
  return { definition: visit(replaced, []) as Members, problems };
}

/** A text as files have it, so that `${` in it is no reference. */
export function escapeReferences(text: string): string {
  return text.replaceAll(/\$+\{/g, (found) => `$${found}`);
}

function unescapeReferences(text: string): string {
  return text.replaceAll(/\$(\$+\{)/g, '$1');
}

function hasReference(text: string): boolean {
  return [...text.matchAll(reference)].some(([, signs]) => signs === '$');
}

function problemOf(name: string, end: string, values: ReadonlyMap<string, string> | undefined): string | undefined {
  if (end === '' || !namePattern.test(name)) return `expected \${NAME} with letters, digits and underscores`;
  if (values !== undefined && !values.has(name)) return `\${${name}} is not in the file of --secrets`;
  return undefined;
}
