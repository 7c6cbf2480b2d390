export type Phases = {
  /** Takes the time of `work` under a name; the same name twice adds up. */
  measure<T>(name: string, work: () => Promise<T>): Promise<T>;
  /** All phases in the order in which they began, in ms, and the total since the command began. */
  finish(): Map<string, number>;
};

export function createPhases(from: { startedAt: number; installMs: number }): Phases {
  const phases = new Map([['install', from.installMs]]);
  return {
    async measure(name, work) {
      const began = performance.now();
      try {
        return await work();
      } finally {
        phases.set(name, (phases.get(name) ?? 0) + performance.now() - began);
      }
    },
    finish: () => new Map([...phases, ['total', Date.now() - from.startedAt]]),
  };
}
