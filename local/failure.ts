import { EngineFailure } from './stack.ts';

/** What keeps the start command from going on, said once, with what to do about it. */
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
}

/** What to print: a failure foreseen speaks for itself, anything else needs its stack. */
export function describeFailure(error: unknown): string {
  if (error instanceof StartFailure || error instanceof EngineFailure) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The message with its cause, which is where fetch hides why it failed. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== ''
    ? `${error.message}: ${error.cause.message}`
    : error.message;
}
