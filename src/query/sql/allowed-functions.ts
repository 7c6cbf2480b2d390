import allowed from './allowed-functions.json' with { type: 'json' };

/**
 * Functions that SQL may call, from `system.functions` of ClickHouse 26.7, in lower case. A list of allowed and not of denied
 * functions: a function that a newer server brings is refused until it has been reviewed. Left out are functions that read
 * data outside the query's own tables (dictionaries, files, joins by table name, server settings, request headers), that
 * call other services, that sleep, and that throw. A test compares both lists with those of the server.
 */
const scalarNames = new Set([...allowed.scalar, 'version']);

/** These also take the suffixes below, in any number. */
const aggregateNames = new Set(allowed.aggregate);

const suffixes =
  /(?:if|array|map|state|merge|mergestate|foreach|distinct|ordefault|ornull|resample|argmin|argmax|simplestate)$/;

export function isAllowedFunction(name: string): boolean {
  const lower = name.toLowerCase();
  return scalarNames.has(lower) || isAllowedAggregate(lower);
}

/** Those whose first argument is the name of an aggregate function, as a text. */
export function takesAggregate(name: string): boolean {
  return ['arrayreduce', 'arrayreduceinranges', 'initializeaggregation'].includes(name.toLowerCase());
}

/** None has a name as long as this, with whatever is put behind it. */
const nameChars_max = 128;

export function isAllowedAggregate(name: string): boolean {
  if (name.length > nameChars_max) return false;
  if (aggregateNames.has(name)) return true;
  const shorter = name.replace(suffixes, '');
  return shorter !== name && isAllowedAggregate(shorter);
}

/** Tables that a function makes of its arguments alone. */
const tableFunctions = new Set(
  'numbers numbers_mt zeros zeros_mt generate_series generateseries values sqlstandardvalues'.split(' '),
);

export function isAllowedTableFunction(name: string): boolean {
  return tableFunctions.has(name.toLowerCase());
}
