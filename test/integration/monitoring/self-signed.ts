import { createSign, generateKeyPairSync } from 'node:crypto';

/** A DER element with its content. */
function der(tag: number, ...content: Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const { length } = body;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

const sequence = (...content: Uint8Array[]) => der(0x30, ...content);
const bytes = (hex: string) => Buffer.from(hex, 'hex');
const text = (tag: number, value: string) => der(tag, Buffer.from(value));
/** A time as `YYMMDDhhmmssZ`. */
const time = (ms: number) => text(0x17, `${new Date(ms).toISOString().replace(/\D/g, '').slice(2, 14)}Z`);

const sha256WithRsa = sequence(der(0x06, bytes('2a864886f70d01010b')), der(0x05));
const commonName = der(0x06, bytes('550403'));

/** A self-signed certificate (RFC 5280) of `localhost` and its key, both in PEM. */
export function selfSigned(from_ms: number, until_ms: number): { key: string; cert: string } {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const name = sequence(der(0x31, sequence(commonName, text(0x0c, 'localhost'))));
  const version3 = der(0xa0, der(0x02, bytes('02')));
  const signed = sequence(
    version3,
    der(0x02, bytes('01')),
    sha256WithRsa,
    name,
    sequence(time(from_ms), time(until_ms)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const signature = createSign('sha256').update(signed).sign(privateKey);
  const cert = sequence(signed, sha256WithRsa, der(0x03, bytes('00'), signature));
  const lines = cert.toString('base64').replace(/.{64}/g, '$&\n');
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
  };
}
