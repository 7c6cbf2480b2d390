const nameLengthMax = 128;

/**
 * The names of a table's fields, and the rules for new names. A body can have very many names, so each check is a lookup, not a
 * comparison with all names.
 */
export class FieldNames {
  /** Prefixes before a dot, and the number of names with each. */
  readonly #owners = new Map<string, number>();

  constructor(names: Iterable<string>) {
    for (const name of names) this.add(name);
  }

  add(name: string): void {
    for (const owner of ownersOf(name)) this.#owners.set(owner, (this.#owners.get(owner) ?? 0) + 1);
  }

  delete(name: string): void {
    for (const owner of ownersOf(name)) {
      const left = (this.#owners.get(owner) ?? 0) - 1;
      if (left > 0) this.#owners.set(owner, left);
      else this.#owners.delete(owner);
    }
  }

  /** The reason why a new field cannot have this name; undefined if it can. */
  problemOf(name: string): string | undefined {
    if (name === '') return 'a field needs a name';
    if (name.startsWith('_')) return 'names that begin with _ are reserved';
    if (name.length > nameLengthMax) return `a name has at most ${nameLengthMax} characters`;
    // ClickHouse creates subcolumns with these names, which would conflict.
    if (/\.(?:null|size\d*)$/.test(name)) return 'names that end with .null or .size are reserved by ClickHouse';
    if (!name.isWellFormed()) return 'half of a surrogate pair is not a character';
    if (/\p{Cc}/u.test(name)) return 'control characters are not allowed in a name';
    // Only in this order: a.b may be added after a.
    if (!this.#owners.has(name)) return undefined;
    return `ClickHouse cannot add this name after a field whose name begins with ${name}.`;
  }
}

function ownersOf(name: string): string[] {
  const owners: string[] = [];
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) owners.push(name.slice(0, dot));
  return owners;
}
