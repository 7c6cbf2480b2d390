/** Cipher suites of TLS 1.2, and the mark of secure renegotiation. */
const suites = [
  0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc009, 0xc013, 0xc00a, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
  0x00ff,
];
const groups = [0x001d, 0x0017, 0x0018, 0x0019];
const signatures = [0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201];

/**
 * The first record of a TLS 1.2 handshake. In TLS 1.2 the certificates of the server are readable.
 *
 * @param serverName undefined for an address, which SNI does not allow
 */
export function clientHello(serverName: string | undefined, random: Uint8Array): Buffer {
  const name = Buffer.from(serverName ?? '', 'latin1');
  const extensions = [
    ...(serverName === undefined ? [] : [extension(0, vector(2, Buffer.concat([Buffer.of(0), vector(2, name)])))]),
    extension(10, vector(2, numbers(groups))),
    extension(11, vector(1, Buffer.of(0))),
    extension(13, vector(2, numbers(signatures))),
  ];
  const body = Buffer.concat([
    Buffer.of(3, 3),
    random,
    vector(1, Buffer.alloc(0)),
    vector(2, numbers(suites)),
    vector(1, Buffer.of(0)),
    vector(2, Buffer.concat(extensions)),
  ]);
  const message = Buffer.concat([Buffer.of(1), vector(3, body)]);
  return Buffer.concat([Buffer.of(22, 3, 1), vector(2, message)]);
}

/** Bytes after their length, which has `size` bytes. */
function vector(size: number, bytes: Buffer): Buffer {
  const length = Buffer.alloc(size);
  length.writeUIntBE(bytes.length, 0, size);
  return Buffer.concat([length, bytes]);
}

function extension(type: number, bytes: Buffer): Buffer {
  return Buffer.concat([numbers([type]), vector(2, bytes)]);
}

function numbers(values: number[]): Buffer {
  return Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]));
}

/** Reads the records of a server up to its certificates. */
export class ServerRecords {
  #bytes: Buffer = Buffer.alloc(0);
  #handshake: Buffer = Buffer.alloc(0);

  /**
   * @returns the certificates in DER, the server's own first; the number of an alert that ends the handshake; undefined while
   *   bytes are missing
   * @throws Error for bytes that are not TLS
   */
  add(bytes: Uint8Array): { certificates: Buffer[] } | { alert: number } | undefined {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    while (this.#bytes.length >= 5) {
      const [type, major] = this.#bytes;
      const length = this.#bytes.readUInt16BE(3);
      if (major !== 3 || length > 16_640) throw new Error('not TLS');
      if (this.#bytes.length < 5 + length) return undefined;
      const content = this.#bytes.subarray(5, 5 + length);
      this.#bytes = this.#bytes.subarray(5 + length);
      // A warning, such as one about the name, does not end the handshake.
      if (type === 21 && content[0] !== 1) return { alert: content[1] ?? 0 };
      if (type === 21) continue;
      if (type !== 22) throw new Error('not a handshake');
      this.#handshake = Buffer.concat([this.#handshake, content]);
      const certificates = this.#certificates();
      if (certificates !== undefined) return { certificates };
    }
    return undefined;
  }

  #certificates(): Buffer[] | undefined {
    let at = 0;
    while (this.#handshake.length >= at + 4) {
      const length = this.#handshake.readUIntBE(at + 1, 3);
      const end = at + 4 + length;
      if (this.#handshake.length < end) return undefined;
      if (this.#handshake[at] === 11) return listed(this.#handshake.subarray(at + 4, end));
      at = end;
    }
    return undefined;
  }
}

function listed(message: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 3; at + 3 <= message.length; ) {
    const length = message.readUIntBE(at, 3);
    found.push(message.subarray(at + 3, at + 3 + length));
    at += 3 + length;
  }
  return found;
}
