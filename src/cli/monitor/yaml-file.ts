import { readFile } from 'node:fs/promises';
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { isSystemError, systemMessage, usage } from '../failure.ts';

/** Names and indices from the top of a file. */
export type Path = readonly (string | number)[];

/** A place in a file, for messages: `monitor.yaml:3:7`. Lines and columns count from 1. */
export type Place = { file: string; line: number; column: number };

export type YamlFile = {
  file: string;
  /** As JSON has it; undefined where the file is not YAML. */
  value: unknown;
  problems: { place: Place; message: string }[];
  /** The place of a member: its value if that is on its own line, else its name. A missing member has the place of its owner. */
  placeOf(path: Path): Place;
};

const aliases_max = 1_000;

/** Reads a YAML file. Throws CliFailure for an unreadable file; a file that is not YAML has problems. */
export async function readYamlFile(file: string): Promise<YamlFile> {
  try {
    return parseYaml(await readFile(file, 'utf8'), file);
  } catch (error) {
    throw isSystemError(error) ? usage(systemMessage(error, file)) : error;
  }
}

/** Parses text of a file, such as `a: [1, 2]`. */
export function parseYaml(text: string, file: string): YamlFile {
  const lineCounter = new LineCounter();
  const document: Document = parseDocument(text, { lineCounter, prettyErrors: false, merge: true });
  const at = (offset: number): Place => {
    const { line, col } = lineCounter.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col) };
  };
  // A tag that is not known would silently change the meaning of a value.
  const problems = [...document.errors, ...document.warnings].map(({ pos, message }) => ({
    place: at(pos[0]),
    message,
  }));
  const placeOf = (path: Path) => at(offsetOf(document, path));
  if (problems.length > 0) return { file, value: undefined, problems, placeOf };
  try {
    return { file, value: document.toJS({ maxAliasCount: aliases_max }), problems, placeOf };
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    const message = `aliases: ${error.message}`;
    return { file, value: undefined, problems: [{ place: at(0), message }], placeOf };
  }
}

function offsetOf(document: Document, path: Path): number {
  let node: Node | null | undefined = document.contents;
  let offset = node?.range?.[0] ?? 0;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => String(isScalar(key) ? key.value : key) === String(part));
      if (pair === undefined) return offset;
      offset = (pair.key as Node | null)?.range?.[0] ?? offset;
      node = pair.value as Node | null;
    } else if (isSeq(node)) {
      const item = node.items[Number(part)] as Node | undefined;
      if (item === undefined) return offset;
      offset = item.range?.[0] ?? offset;
      node = item;
    } else {
      return offset;
    }
  }
  return isScalar(node) ? (node.range?.[0] ?? offset) : offset;
}

export function placeText({ file, line, column }: Place): string {
  return `${file}:${line}:${column}`;
}
