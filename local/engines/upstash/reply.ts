import { ErrorReply } from 'redis';

/**
 * A reply as the connection delivers it: strings (status and bulk) as Buffers, integers as their digits. So no integer is
 * rounded and no bytes are changed that are not UTF-8.
 */
export type Reply = Buffer | string | null | ErrorReply | Reply[];

/** `{"result": …}` or `{"error": …}` for one reply. */
export function resultJson(reply: Reply, base64: boolean): string {
  if (reply instanceof ErrorReply) return errorJson(reply.message);
  // Clients decode every string except the result "OK", so only that one is never encoded.
  if (reply instanceof Uint8Array && isOk(reply)) return '{"result":"OK"}';
  return `{"result":${valueJson(reply, base64)}}`;
}

export function errorJson(message: string): string {
  return `{"error":${JSON.stringify(message)}}`;
}

function valueJson(value: Reply, base64: boolean): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return value;
  if (value instanceof Uint8Array) {
    return base64 ? `"${value.toString('base64')}"` : JSON.stringify(value.toString('utf8'));
  }
  if (Array.isArray(value)) {
    let json = '[';
    for (let index = 0; index < value.length; index += 1) {
      json += (index === 0 ? '' : ',') + valueJson(value[index] as Reply, base64);
    }
    return `${json}]`;
  }
  return valueJson(Buffer.from(value.message), base64);
}

function isOk(value: Buffer): boolean {
  return value.length === 2 && value[0] === 0x4f && value[1] === 0x4b;
}
