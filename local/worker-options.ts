/** What `worker-program.ts` gets, as JSON in the environment, since it holds secrets. */
export type ProgramOptions = {
  build: string;
  /** Where the runtime keeps state. */
  state: string;
  port: number;
  inspectorPort: number;
  bindings: Record<string, string>;
};

export const optionsVariable = 'TIMESTORE_WORKER_OPTIONS';
