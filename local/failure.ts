import { EngineFailure } from './stack.ts';

/** A foreseen failure of the start command. Its message says what to do. */
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
}

/** The text to print: the message of a foreseen failure, the stack of any other error. */
export function describeFailure(error: unknown): string {
  if (error instanceof StartFailure || error instanceof EngineFailure) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The message and the message of the cause: `fetch` puts the reason of a failure into the cause. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== ''
    ? `${error.message}: ${error.cause.message}`
    : error.message;
}
