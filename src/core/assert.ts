/**
 * Checks an invariant. A failure is a defect of this code, so callers do not catch it.
 *
 * @param fact the invariant in words, such as "a cluster has at least one node"
 * @throws Error
 */
export function assert(condition: boolean, fact: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${fact}`);
}

/** The value, which only a defect can leave undefined. Throws Error; a default would hide the defect. */
export function assertDefined<Value>(value: Value | undefined, fact: string): Value {
  if (value === undefined) throw new Error(`assertion failed: ${fact}`);
  return value;
}
