import { JsonReader } from './json-reader.ts';

/** The entries of a stored map in their order, which a JavaScript object would not keep. */
export function readMap(text: string): Map<string, string> {
  return new Map(new JsonReader(text).members().map((member) => [member.name, JSON.parse(member.text) as string]));
}

/** Whether JSON.parse may reorder the members: JavaScript moves integer-like names to the front. */
export function mayBeReordered(text: string): boolean {
  return /"(?:0|[1-9][0-9]*)":/.test(text);
}
