/** A ClickHouse type: its name, and its arguments if they are types. */
export type SourceType = {
  name: string;
  /** The whole text of the type. */
  text: string;
  args: SourceType[];
  /** Names of the members of a tuple. */
  names: string[];
};

const withTypes = new Set(['Nullable', 'LowCardinality', 'Array', 'Map', 'Tuple']);

/** Parses a type. Arguments that are not types stay text. */
export function readType(text: string): SourceType {
  const name = /^[A-Za-z0-9_]+/.exec(text)?.[0] ?? '';
  if (!withTypes.has(name) || !text.endsWith(')')) return { name, text, args: [], names: [] };
  const parts = splitArguments(text.slice(name.length + 1, -1));
  if (name !== 'Tuple') return { name, text, args: parts.map(readType), names: [] };
  const members = parts.map(parseMember);
  return { name, text, args: members.map(({ type }) => readType(type)), names: members.map(({ name }) => name) };
}

/** The type without Nullable and LowCardinality. */
export function unwrapType(type: SourceType): SourceType {
  const [inner] = type.args;
  return (type.name === 'Nullable' || type.name === 'LowCardinality') && inner !== undefined ? unwrapType(inner) : type;
}

/** The text of a type with each leaf replaced by `change`. */
export function replaceLeaves(type: SourceType, change: (leaf: SourceType) => string): string {
  if (type.args.length === 0) return change(type);
  const args = type.args.map((arg, i) => {
    const name = type.names[i];
    return `${name === undefined ? '' : `${quote(name)} `}${replaceLeaves(arg, change)}`;
  });
  return `${type.name}(${args.join(', ')})`;
}

const quote = (name: string) => `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;

/** Splits at commas outside of brackets and quotes. */
function splitArguments(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '`' || char === "'") at = closingQuote(text, at);
    else if (char === '(') depth += 1;
    else if (char === ')') depth -= 1;
    else if (char === ',' && depth === 0) {
      parts.push(text.slice(start, at).trim());
      start = at + 1;
    }
  }
  parts.push(text.slice(start).trim());
  return parts;
}

function closingQuote(text: string, start: number): number {
  const quote = text[start];
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === quote) return at;
  }
  return text.length;
}

function parseMember(part: string): { name: string; type: string } {
  const end = part.startsWith('`') ? closingQuote(part, 0) + 1 : part.indexOf(' ');
  const name = part.slice(0, end);
  return { name: part.startsWith('`') ? unquote(name) : name, type: part.slice(end + 1) };
}

const escapes: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', '0': '\0', a: '\x07', v: '\v' };

function unquote(name: string): string {
  return name.slice(1, -1).replace(/\\(x[0-9A-Fa-f]{2}|.)/gs, (_, char: string) => {
    return char.startsWith('x') && char.length === 3
      ? String.fromCharCode(Number.parseInt(char.slice(1), 16))
      : (escapes[char] ?? char);
  });
}
