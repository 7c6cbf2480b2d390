/** One wide event: what happened, to what, how long it took. Never a payload, a statement or a secret. */
export type Event = { event: string; [member: string]: unknown };

export type Log = (event: Event) => void;

export const logToConsole: Log = (event) => {
  // biome-ignore lint/suspicious/noConsole: the platform collects what the console prints; this is the one place.
  console.log(JSON.stringify(event));
};

/** What an error says in the log, where its causes matter and nobody outside reads along. */
export function describeError(error: unknown): { error: string; cause?: string } {
  if (!(error instanceof Error)) return { error: String(error) };
  const told = { error: `${error.name}: ${error.message}`.slice(0, 1_000) };
  return error.cause instanceof Error ? { ...told, cause: error.cause.message.slice(0, 1_000) } : told;
}
