import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { Compressors } from 'hyparquet';

const toCompressor = (decompress: (bytes: Uint8Array) => Uint8Array) => (bytes: Uint8Array) =>
  new Uint8Array(decompress(bytes));

/** Decompression for Parquet. hyparquet itself supports Snappy. */
export const compressors: Readonly<Compressors> = {
  GZIP: toCompressor(gunzipSync),
  BROTLI: toCompressor(brotliDecompressSync),
  ZSTD: toCompressor(zstdDecompressSync),
};
