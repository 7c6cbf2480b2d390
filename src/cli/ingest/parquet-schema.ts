import type { SchemaElement } from 'hyparquet';

const lostName = '__proto__';

/** What no field can be made of in a schema, if anything. */
export function columnProblem(schema: SchemaElement[]): string | undefined {
  // Objects of JavaScript, which is what the reader makes of structs and maps, lose this name.
  if (schema.some(({ name }) => name === lostName)) {
    return `a column or a member ${lostName}, which is no name of a field. Give it another`;
  }
  const odd = schema.find(({ converted_type }) => converted_type === 'INTERVAL' || converted_type === 'BSON');
  if (odd === undefined) return undefined;
  return `values of type ${odd.converted_type} in ${odd.name}, which no field holds. Write them as text or leave the column out`;
}

/** A schema in which what newer writers say of a leaf alone is said as older ones do, which is what the reader goes by. */
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

/** Names of elements that hold days. */
export function dayColumns(schema: SchemaElement[]): string[] {
  return schema.filter(({ converted_type }) => converted_type === 'DATE').map(({ name }) => name);
}
