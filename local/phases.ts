export type Phases = {
  /** Measures the time of `work` under a name; times under the same name are added up. */
  measure<T>(name: string, work: () => Promise<T>): Promise<T>;
  /** All phases in the order in which they began, in ms, and the total since the command began. */
  finish(): Map<string, number>;
};

export function createPhases(from: { startedAt: number; installMs: number }): Phases {
  const phases = new Map([['install', from.installMs]]);
  return {
    async measure(name, work) {
      const startedAt = performance.now();
      try {
        return await work();
      } finally {
        phases.set(name, (phases.get(name) ?? 0) + performance.now() - startedAt);
      }
    },
    finish: () => new Map([...phases, ['total', Date.now() - from.startedAt]]),
  };
}
