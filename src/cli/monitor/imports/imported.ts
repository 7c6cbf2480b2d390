import { textProblems } from '../../../monitoring/changes/definition-texts.ts';
import { definitions, type Kind } from '../../../monitoring/resources/kinds.ts';
import { isMembers } from '../../../monitoring/resources/secret-places.ts';
import { CliFailure } from '../../failure.ts';
import { failureOf, type Problem } from '../load.ts';
import { type Path, readYamlFile, type YamlFile } from '../yaml-file.ts';

type Members = Record<string, unknown>;

/** The result of an import: definitions, and every part of the file that has no exact counterpart. */
export class Imported {
  readonly resources: { kind: Kind; id: string; definition: Members }[] = [];
  readonly unmapped: Problem[] = [];
  readonly #file: YamlFile;

  constructor(file: YamlFile) {
    this.#file = file;
  }

  /** Names a part that is not imported. */
  leaveOut(path: Path, message: string): void {
    this.unmapped.push({ place: this.#file.placeOf(path), message });
  }

  /** Names the members of an object that are not among the known ones. */
  leaveOutOthers(owner: Members, path: Path, known: string[], of: string): void {
    for (const name of Object.keys(owner)) {
      if (!known.includes(name)) this.leaveOut([...path, name], `${of}: ${name} has no counterpart`);
    }
  }

  /** Adds a resource under an id that no other one of its kind has. Undefined, and named, if the definition is not valid. */
  add(kind: Kind, name: string, definition: Members, path: Path): string | undefined {
    const { data, error } = definitions[kind].safeParse(definition);
    const issues = error?.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message }));
    const problems = issues ?? textProblems(kind, data);
    for (const problem of problems) this.leaveOut(path, `${kind} ${name}: ${problem.path}: ${problem.message}`);
    if (problems.length > 0) return undefined;
    const id = this.#freeId(kind, idOf(name));
    this.resources.push({ kind, id, definition });
    return id;
  }

  #freeId(kind: Kind, wanted: string): string {
    const isTaken = (id: string) => this.resources.some((each) => each.kind === kind && each.id === id);
    let id = wanted;
    for (let n = 2; isTaken(id); n += 1) id = `${wanted}-${n}`;
    return id;
  }
}

function idOf(name: string): string {
  const id = name
    .trim()
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 100);
  return id === '' ? 'unnamed' : id;
}

/** Reads a file of another system. Throws CliFailure for one that is not YAML, or not a mapping. */
export async function readForeignFile(path: string): Promise<{ imported: Imported; value: Members }> {
  const file = await readYamlFile(path);
  if (file.problems.length > 0) throw failureOf(file.problems);
  if (!isMembers(file.value)) throw new CliFailure(`${path}: expected a mapping.`);
  return { imported: new Imported(file), value: file.value };
}

/** The objects of a list; nothing for another value. */
export function itemsOf(value: unknown): Members[] {
  return Array.isArray(value) ? value.map((each) => (isMembers(each) ? each : {})) : [];
}

/** Members without those that are undefined. */
export function definedOnly(members: Members): Members {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}

const unit_ms: Record<string, number> = {
  y: 31_536_000_000,
  w: 604_800_000,
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
};

/** The milliseconds of a duration of Go or Prometheus, such as `1h30m`; undefined for another text. */
export function foreignDuration(value: unknown): number | undefined {
  const text = String(value);
  if (text === '0') return 0;
  if (!/^(?:\d+(?:y|w|d|h|ms|m|s))+$/.test(text)) return undefined;
  return [...text.matchAll(/(\d+)(y|w|d|h|ms|m|s)/g)].reduce(
    (sum, [, n, unit = '']) => sum + Number(n) * (unit_ms[unit] ?? 0),
    0,
  );
}
