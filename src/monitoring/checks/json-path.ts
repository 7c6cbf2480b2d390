/** Members and elements, from the outermost. */
export type JsonPath = (string | number)[];

/** A path such as `.items[0].id` or `[0].id`. Undefined for any other text: filters and wildcards are not supported. */
export function parseJsonPath(text: string): JsonPath | undefined {
  const step = /\.([^.[\]]+)|\[(\d{1,9})\]/y;
  const path: JsonPath = [];
  while (step.lastIndex < text.length) {
    const found = step.exec(text);
    if (found === null) return undefined;
    path.push(found[1] ?? Number(found[2]));
  }
  return path.includes('$') ? undefined : path;
}

/** The value at a path; undefined if a step of it is missing. */
export function readPath(value: unknown, path: JsonPath): unknown {
  let current = value;
  for (const step of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, step)) return undefined;
    current = (current as Record<string | number, unknown>)[step];
  }
  return current;
}
