import allowed from './allowed-functions.json' with { type: 'json' };

/**
 * Functions that SQL may call, from `system.functions` of ClickHouse 26.7, in lower case. The list allows instead of denies:
 * functions of newer servers are rejected until they have been reviewed. It excludes functions that read data outside of the
 * tables of the query (dictionaries, files, joins by table name, server settings, request headers), that call other
 * services, that sleep, and that throw. A test compares this list and the denied functions with those of the server.
 */
const scalarNames = new Set([...allowed.scalar, 'version']);

/** Aggregate functions also take any number of the suffixes below. */
const aggregateNames = new Set(allowed.aggregate);

const suffixes =
  /(?:if|array|map|state|merge|mergestate|foreach|distinct|ordefault|ornull|resample|argmin|argmax|simplestate)$/;

export function isAllowedFunction(name: string): boolean {
  const lower = name.toLowerCase();
  return scalarNames.has(lower) || isAllowedAggregate(lower);
}

/** Whether the first argument of a function is the name of an aggregate function, as a string. */
export function takesAggregate(name: string): boolean {
  return ['arrayreduce', 'arrayreduceinranges', 'initializeaggregation'].includes(name.toLowerCase());
}

/** Longer than any name with its suffixes; bounds the recursion. */
const nameChars_max = 128;

export function isAllowedAggregate(name: string): boolean {
  if (name.length > nameChars_max) return false;
  if (aggregateNames.has(name)) return true;
  const shorter = name.replace(suffixes, '');
  return shorter !== name && isAllowedAggregate(shorter);
}

/** Table functions that read nothing but their arguments. */
const tableFunctions = new Set(
  'numbers numbers_mt zeros zeros_mt generate_series generateseries values sqlstandardvalues'.split(' '),
);

export function isAllowedTableFunction(name: string): boolean {
  return tableFunctions.has(name.toLowerCase());
}
