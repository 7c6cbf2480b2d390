/** Options of `worker-program.ts`. They are passed as JSON in the environment because they contain secrets. */
export type ProgramOptions = {
  build: string;
  /** The folder in which the runtime stores state. */
  state: string;
  port: number;
  inspectorPort: number;
  bindings: Record<string, string>;
};

export const optionsVariable = 'TIMESTORE_WORKER_OPTIONS';
