import type { SchemaElement } from 'hyparquet';

const lostName = '__proto__';

/** The problem of a schema that cannot be ingested; undefined without one. */
export function columnProblem(schema: SchemaElement[]): string | undefined {
  // The reader returns structs and maps as JavaScript objects, which lose this name.
  if (schema.some(({ name }) => name === lostName)) {
    return `a column or a member with the invalid name ${lostName}. Rename it`;
  }
  const odd = schema.find(({ converted_type }) => converted_type === 'INTERVAL' || converted_type === 'BSON');
  if (odd === undefined) return longDecimalProblem(schema);
  return `values of type ${odd.converted_type} in ${odd.name}, which no field type supports. Write them as text or omit the column`;
}

/** The reader returns decimals in variants as doubles, which keep this many digits. */
const doubleDigits = 15;

function longDecimalProblem(schema: SchemaElement[]): string | undefined {
  const inVariants = placesInVariants(schema);
  const long = schema.find(({ converted_type, logical_type, precision = 0 }, place) => {
    const isDecimal = converted_type === 'DECIMAL' || logical_type?.type === 'DECIMAL';
    const digits = logical_type?.type === 'DECIMAL' ? logical_type.precision : precision;
    return isDecimal && digits > doubleDigits && inVariants.has(place);
  });
  if (long === undefined) return undefined;
  return `a variant with decimals of more than ${doubleDigits} digits, which cannot be read exactly. Write them as a separate column`;
}

/** Indexes of the elements of variants: a schema is a tree in preorder. */
export function placesInVariants(schema: SchemaElement[]): Set<number> {
  const places = new Set<number>();
  const walk = (place: number, isInside: boolean): number => {
    if (isInside) places.add(place);
    const { num_children = 0, logical_type } = schema[place] ?? {};
    let next = place + 1;
    for (let n = num_children; n > 0; n -= 1) next = walk(next, isInside || logical_type?.type === 'VARIANT');
    return next;
  };
  walk(0, false);
  return places;
}

/** Adds converted types for logical types, since the reader knows only converted types. */
export function withConvertedTypes(schema: SchemaElement[]): SchemaElement[] {
  return schema.map((element) => {
    const { converted_type, logical_type } = element;
    if (converted_type !== undefined || logical_type === undefined) return element;
    if (logical_type.type === 'DATE' || logical_type.type === 'JSON') {
      return { ...element, converted_type: logical_type.type };
    }
    if (logical_type.type !== 'DECIMAL') return element;
    const { scale, precision } = logical_type;
    return { ...element, converted_type: 'DECIMAL', scale, precision };
  });
}

/** Names of the date columns. */
export function dayColumns(schema: SchemaElement[]): string[] {
  return schema.filter(({ converted_type }) => converted_type === 'DATE').map(({ name }) => name);
}
