import { hash } from 'node:crypto';
import ipaddr from 'ipaddr.js';
import { notAfter_ms } from './certificate-date.ts';
import type { ProbeOptions } from './http.ts';
import type { Attempt } from './observation.ts';
import { type Connect, socketReason, type TcpSocket, withSocket } from './tcp.ts';
import { clientHello, ServerRecords } from './tls-hello.ts';

/** Certificates of a handshake have a few kilobytes. */
const handshakeBytes_max = 256 * 1024;

export type Certificate = { expiresAt: string; fingerprint: string };

/**
 * Reads the date on which the certificate of a server ends, or that of its issuer where the server sends one that ends
 * earlier. It does not validate the chain: HTTP checks do. A server with TLS 1.3 only is `unsupported`, because it encrypts
 * its certificates.
 */
export async function probeCertificate(
  connect: Connect,
  { hostname, port }: { hostname: string; port: number },
  { timeout_ms, now }: ProbeOptions,
): Promise<Attempt & { certificate?: Certificate }> {
  const from_ms = now();
  try {
    const read = await withSocket(connect, { hostname, port }, timeout_ms, async (socket) => {
      const responseTime_ms = now() - from_ms;
      return { responseTime_ms, found: await readCertificates(socket, hostname) };
    });
    const observed = { isConnected: true, responseTime_ms: read.responseTime_ms };
    if ('alert' in read.found) return { reason: 'unsupported', observed };
    const [leaf, issuer] = read.found.certificates;
    if (leaf === undefined) return { reason: 'tls', observed };
    const expiresAt_ms = Math.min(notAfter_ms(leaf), issuer === undefined ? Infinity : notAfter_ms(issuer));
    return {
      reason: null,
      observed: { ...observed, certificateExpiresIn_ms: expiresAt_ms - now() },
      certificate: { expiresAt: new Date(expiresAt_ms).toISOString(), fingerprint: hash('sha256', leaf) },
    };
  } catch (error) {
    const reason = error instanceof NotTls || error instanceof RangeError ? 'tls' : socketReason(error);
    return { reason, observed: { isConnected: false } };
  }
}

class NotTls extends Error {}

async function readCertificates(
  { readable, writable }: TcpSocket,
  hostname: string,
): Promise<{ certificates: Buffer[] } | { alert: number }> {
  const name = ipaddr.isValid(hostname) ? undefined : hostname.replace(/\.$/, '');
  const writer = writable.getWriter();
  await writer.write(clientHello(name, crypto.getRandomValues(new Uint8Array(32))));
  const records = new ServerRecords();
  const reader = readable.getReader();
  for (let left = handshakeBytes_max; left > 0; ) {
    const { value, done } = await reader.read();
    if (done) break;
    left -= value.byteLength;
    let found: ReturnType<ServerRecords['add']>;
    try {
      found = records.add(value);
    } catch (error) {
      throw new NotTls('The answer is not TLS', { cause: error });
    }
    if (found !== undefined) return found;
  }
  throw new Error('The connection ended before the certificate');
}
