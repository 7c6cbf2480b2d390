/** One wide event per operation: name, objects, outcome, duration. Never a payload, a statement or a secret. */
export type Event = { event: string; [member: string]: unknown };

export type Log = (event: Event) => void;

export const logToConsole: Log = (event) => {
  // biome-ignore lint/suspicious/noConsole: the platform collects the console output; no other place prints.
  console.log(JSON.stringify(event));
};

/** An error with its cause, for the log only: a cause may hold internals that a response must not show. */
export function describeError(error: unknown): { error: string; cause?: string } {
  if (!(error instanceof Error)) return { error: String(error) };
  const described = { error: `${error.name}: ${error.message}`.slice(0, 1_000) };
  return error.cause instanceof Error ? { ...described, cause: error.cause.message.slice(0, 1_000) } : described;
}
