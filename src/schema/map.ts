import { JsonReader } from './json-reader.ts';

/** The entries of a stored map in their order, in which an object of JavaScript would not keep them. */
export function readMap(text: string): Map<string, string> {
  return new Map(new JsonReader(text).members().map((member) => [member.name, JSON.parse(member.text) as string]));
}

/** Whether an object made of the text may have its members in another order: those that look like places of a list come first. */
export function mayBeReordered(text: string): boolean {
  return /"(?:0|[1-9][0-9]*)":/.test(text);
}
