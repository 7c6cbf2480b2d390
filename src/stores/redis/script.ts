import { createHash } from 'node:crypto';
import clockLua from './lua/clock.lua';
import entryLua from './lua/entry.lua';
import hashLua from './lua/hash.lua';
import integerLua from './lua/integer.lua';
import logLua from './lua/log.lua';
import restLua from './lua/rest.lua';

/** Texts that scripts include, by name. The bundler's rule for text files cannot put them together. */
const includes = new Map(
  Object.entries({ clock: clockLua, entry: entryLua, hash: hashLua, integer: integerLua, log: logLua, rest: restLua }),
);

const includeLine = /^--- @include "(\w+)"\n/gm;

/**
 * A Lua script. Redis knows a script by its SHA-1.
 *
 * The first statements of a script bind its keys and arguments to names, in their order. `keys` and `args` are these names;
 * `header` has the names that the script binds from a JSON array within an argument. Behind all other names, one name may
 * stand for a list of any length.
 */
export type Script = {
  source: string;
  sha1: string;
  keys: string[];
  args: string[];
  header: string[];
  /** The same script without its first line, which is one of flags. */
  plain?: Script;
};

export function script(text: string): Script {
  const source = resolveIncludes(text);
  const sha1 = createHash('sha1').update(source).digest('hex');
  const names = {
    keys: boundTo('KEYS', source),
    args: boundTo('ARGV', source),
    header: boundTo('cjson.decode', source),
  };
  const plain = text.replace(/^#!.*\n/, '');
  return plain === text ? { source, sha1, ...names } : { source, sha1, ...names, plain: script(plain) };
}

function resolveIncludes(text: string): string {
  return text.replace(includeLine, (_, name: string) => {
    const included = includes.get(name);
    if (included === undefined) throw new Error(`A Lua script includes "${name}", which does not exist.`);
    return resolveIncludes(included);
  });
}

/** The names in a statement that binds a list: as a whole, by its members, or by its first members and a list of the others. */
function boundTo(list: 'KEYS' | 'ARGV' | 'cjson.decode', source: string): string[] {
  const statement = new RegExp(`^local ([\\w,\\s]+?)\\s+= (?:${list}$|unpack(?:WithRest)?\\(${list}\\b)`, 'm');
  const [, names] = statement.exec(source) ?? [];
  return names === undefined ? [] : names.split(/,\s*/);
}

/**
 * Puts values into the order in which a script binds their names.
 *
 * @param values undefined only for a last name, which is then left out
 */
export function inOrder<Value extends string | number>(
  names: string[],
  values: Record<string, Value | Value[] | undefined>,
): Value[] {
  const given = Object.keys(values);
  const isComplete = names.every((name, i) => values[name] !== undefined || (name in values && i === names.length - 1));
  if (!isComplete || given.length !== names.length) {
    throw new Error(`A Lua script takes (${names.join(', ')}) and is given (${given.join(', ')}).`);
  }
  return names.flatMap((name) => values[name] ?? []);
}
