import { TimestoreError } from '../client/index.ts';

/** What a script can go by. */
export const exitCodes = {
  done: 0,
  /** Refused, or failed in a way that asking again does not mend. */
  failed: 1,
  /** The command line or the configuration is wrong; nothing was sent. */
  usage: 2,
  /** It may pass: the same command may succeed later. */
  later: 75,
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** A failure with everything that a person needs to know of it. */
export class CliFailure extends Error {
  readonly exitCode: ExitCode;
  constructor(message: string, exitCode: ExitCode = exitCodes.failed, cause?: unknown) {
    super(message, { cause });
    this.name = 'CliFailure';
    this.exitCode = exitCode;
  }
}

/** Ctrl-C. */
export const interrupted = (): CliFailure => new CliFailure('Interrupted.', exitCodes.interrupted);

export const usage = (message: string): CliFailure => new CliFailure(message, exitCodes.usage);

/** Anything that was thrown, as what to print and how to exit. */
export function toFailure(error: unknown): CliFailure {
  if (error instanceof CliFailure) return error;
  if (error instanceof Error && error.name === 'AbortError') return interrupted();
  if (error instanceof TimestoreError) return answerFailure(error);
  if (isSystemError(error)) return new CliFailure(systemMessage(error), exitCodes.failed, error);
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new CliFailure(`This should not have happened: ${message}`, exitCodes.failed, error);
}

function answerFailure(error: TimestoreError): CliFailure {
  const id = error.requestId === undefined ? '' : ` (request ${error.requestId})`;
  const exitCode = error.retryable ? exitCodes.later : exitCodes.failed;
  const wait = error.retryAfterMs === undefined ? 'later' : `in ${Math.max(1, Math.ceil(error.retryAfterMs / 1000))} s`;
  switch (error.code) {
    case 'network':
      return new CliFailure(
        `${error.message}${reason(error)}. Is it running, and is the address right?`,
        exitCode,
        error,
      );
    case 'unauthenticated':
      return new CliFailure(
        `The key is not accepted: ${error.message}${id} \`timestore login\` takes another one.`,
        exitCode,
        error,
      );
    case 'malformed-answer':
      return new CliFailure(`${error.message} Is the address that of a Timestore?`, exitCode, error);
    default:
      return new CliFailure(`${error.message}${id}${error.retryable ? ` Try again ${wait}.` : ''}`, exitCode, error);
  }
}

function reason({ cause }: Error): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return inner instanceof Error && inner.message !== '' ? `: ${inner.message}` : '';
}

export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && 'syscall' in error;
}

const meanings: Record<string, string> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'you may not do that there',
  EPERM: 'you may not do that there',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of the path is no folder',
  ENOSPC: 'the disk is full',
  EDQUOT: 'your share of the disk is full',
  EROFS: 'it cannot be written to',
  EFBIG: 'it would become larger than files may be',
  EMFILE: 'too many files are open',
};

export function systemMessage(error: NodeJS.ErrnoException, path = error.path): string {
  const meaning = meanings[error.code ?? ''] ?? error.message;
  return path === undefined
    ? `${meaning[0]?.toUpperCase()}${meaning.slice(1)} (${error.code}).`
    : `${path}: ${meaning} (${error.code}).`;
}
