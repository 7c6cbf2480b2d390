type Edge = { source: string; target: string };

/** Ids on a cycle of the relations, the first one again at the end; undefined for relations without one. */
export function findCycle(edges: Edge[]): string[] | undefined {
  const targets = new Map<string, string[]>();
  for (const { source, target } of edges) targets.set(source, [...(targets.get(source) ?? []), target]);
  const done = new Set<string>();
  for (const start of [...targets.keys()].sort()) {
    // A list in place of recursion: relations may be a long chain.
    const path: { id: string; next: number }[] = [{ id: start, next: 0 }];
    const onPath = new Set([start]);
    while (path.length > 0) {
      const last = path.at(-1) as { id: string; next: number };
      const target = done.has(last.id) ? undefined : targets.get(last.id)?.[last.next];
      last.next += 1;
      if (target === undefined) {
        done.add(last.id);
        onPath.delete(last.id);
        path.pop();
      } else if (onPath.has(target)) {
        const ids = path.map(({ id }) => id);
        return [...ids.slice(ids.indexOf(target)), target];
      } else {
        path.push({ id: target, next: 0 });
        onPath.add(target);
      }
    }
  }
  return undefined;
}
