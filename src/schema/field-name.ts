const nameLengthMax = 128;

/** Why a new field cannot have this name beside those that are there; undefined if it can. */
export function nameProblem(name: string, others: Iterable<string>): string | undefined {
  if (name === '') return 'a field has a name';
  if (name.startsWith('_')) return 'names that begin with _ are reserved';
  // ClickHouse makes such columns itself, beside the one they belong to, and then has two of the name.
  if (/\.(?:null|size\d*)$/.test(name)) return 'names that end with .null or .size are ClickHouse’s own';
  if (name.length > nameLengthMax) return `a name has at most ${nameLengthMax} characters`;
  if (/\p{Cc}/u.test(name) || !name.isWellFormed()) return 'a name has no control characters';
  // The other way round it is well: a.b may come after a.
  for (const other of others) {
    if (other.startsWith(`${name}.`))
      return `there is a field ${other}, beside which ClickHouse adds none of this name`;
  }
  return undefined;
}
