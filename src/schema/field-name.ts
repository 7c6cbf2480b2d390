const nameLengthMax = 128;

/**
 * The names of a table's fields, and whether a new one may join them. Rows bring as many names as fit into a body, so a name
 * is looked up and not compared with all others.
 */
export class FieldNames {
  /** What stands before a dot in a name, and how many names have it there. */
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

  /** Why a new field cannot have this name beside those that are there; undefined if it can. */
  problemOf(name: string): string | undefined {
    if (name === '') return 'a field has a name';
    if (name.startsWith('_')) return 'names that begin with _ are reserved';
    if (name.length > nameLengthMax) return `a name has at most ${nameLengthMax} characters`;
    // ClickHouse makes such columns itself, beside the one they belong to, and then has two of the name.
    if (/\.(?:null|size\d*)$/.test(name)) return 'names that end with .null or .size are ClickHouse’s own';
    if (!name.isWellFormed()) return 'half of a surrogate pair is not a character';
    if (/\p{Cc}/u.test(name)) return 'a name has no control characters';
    // The other way round it is well: a.b may come after a.
    if (!this.#owners.has(name)) return undefined;
    return `there is a field whose name begins with ${name}., beside which ClickHouse adds none of this name`;
  }
}

function ownersOf(name: string): string[] {
  const owners: string[] = [];
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) owners.push(name.slice(0, dot));
  return owners;
}
