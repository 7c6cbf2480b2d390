import { TimestoreError } from '../client/index.ts';

/** Exit codes for scripts. */
export const exitCodes = {
  done: 0,
  /** Rejected, or failed in a way that a retry does not repair. */
  failed: 1,
  /** The command line or the configuration is invalid; nothing was sent. */
  usage: 2,
  /** A temporary failure: the same command may succeed later. */
  later: 75,
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** A failure with its message for the user and its exit code. */
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

/** Converts any thrown value. */
export function toFailure(error: unknown): CliFailure {
  if (error instanceof CliFailure) return error;
  if (error instanceof Error && error.name === 'AbortError') return interrupted();
  if (error instanceof TimestoreError) return answerFailure(error);
  if (isSystemError(error)) return new CliFailure(systemMessage(error), exitCodes.failed, error);
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new CliFailure(`Internal error: ${message}`, exitCodes.failed, error);
}

function answerFailure(error: TimestoreError): CliFailure {
  const id = error.requestId === undefined ? '' : ` (request ${error.requestId})`;
  const exitCode = error.retryable ? exitCodes.later : exitCodes.failed;
  const wait = error.retryAfterMs === undefined ? 'later' : `in ${Math.max(1, Math.ceil(error.retryAfterMs / 1000))} s`;
  switch (error.code) {
    case 'network':
      return new CliFailure(
        `${error.message}${reason(error)}. Check that it is running and that the URL is correct.`,
        exitCode,
        error,
      );
    case 'unauthenticated':
      return new CliFailure(
        `The key was rejected: ${error.message}${id} \`timestore login\` saves another key.`,
        exitCode,
        error,
      );
    case 'malformed-answer':
      return new CliFailure(`${error.message} Check that the URL is that of a Timestore deployment.`, exitCode, error);
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
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'is a folder',
  ENOTDIR: 'a part of the path is not a folder',
  ENOSPC: 'the disk is full',
  EDQUOT: 'disk quota exceeded',
  EROFS: 'read-only file system',
  EFBIG: 'maximum file size exceeded',
  EMFILE: 'too many open files',
};

export function systemMessage(error: NodeJS.ErrnoException, path = error.path): string {
  const meaning = meanings[error.code ?? ''] ?? error.message;
  return path === undefined
    ? `${meaning[0]?.toUpperCase()}${meaning.slice(1)} (${error.code}).`
    : `${path}: ${meaning} (${error.code}).`;
}
