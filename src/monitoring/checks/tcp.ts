import { reasonOfError } from './failure-reason.ts';
import type { ProbeOptions } from './http.ts';
import type { Attempt, Reason } from './observation.ts';

/** A TCP connection, as the Workers runtime makes it. */
export type TcpSocket = {
  opened: Promise<unknown>;
  closed: Promise<unknown>;
  readable: ReadableStream<Uint8Array>;
  writable: WritableStream<Uint8Array>;
  close(): Promise<void>;
};

export type Connect = (address: { hostname: string; port: number }) => Promise<TcpSocket>;

/** Connections of the Workers runtime. Other runtimes do not have the module. */
export const connectFromWorker: Connect = async (address) => {
  const { connect } = await import('cloudflare:sockets');
  return connect(address, { secureTransport: 'off', allowHalfOpen: false }) as unknown as TcpSocket;
};

export class TimeoutError extends Error {
  override name = 'TimeoutError';
}

/**
 * Opens a connection, and closes it after the work or at the end of the time: an open one keeps one of the six places of an
 * invocation.
 *
 * @throws TimeoutError; what the runtime and `work` throw
 */
export async function withSocket<Result>(
  connect: Connect,
  address: { hostname: string; port: number },
  timeout_ms: number,
  work: (socket: TcpSocket) => Promise<Result>,
): Promise<Result> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new TimeoutError('timed out')), timeout_ms);
  const socket = await connect(address);
  // They reject as well, after this function has ended.
  socket.closed.catch(() => undefined);
  socket.opened.catch(() => undefined);
  try {
    await Promise.race([socket.opened, late.promise]);
    return await Promise.race([work(socket), late.promise]);
  } finally {
    clearTimeout(timer);
    late.promise.catch(() => undefined);
    void socket.close().catch(() => undefined);
  }
}

/** Connects to a port, and sends nothing. */
export async function probeTcp(
  connect: Connect,
  address: { hostname: string; port: number },
  { timeout_ms, now }: ProbeOptions,
): Promise<Attempt> {
  const from_ms = now();
  try {
    const responseTime_ms = await withSocket(connect, address, timeout_ms, async () => now() - from_ms);
    return { reason: null, observed: { isConnected: true, responseTime_ms } };
  } catch (error) {
    return { reason: socketReason(error), observed: { isConnected: false } };
  }
}

/** Workers cannot connect to addresses of Cloudflare itself, and say so. */
export function socketReason(error: unknown): Reason {
  const text = error instanceof Error ? error.message : '';
  if (/consider using fetch/i.test(text)) return 'unsupported';
  return reasonOfError(error);
}
