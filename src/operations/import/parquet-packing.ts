import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { Compressors } from 'hyparquet';

const unpacked = (unpack: (packed: Uint8Array) => Uint8Array) => (packed: Uint8Array) => new Uint8Array(unpack(packed));

/** How Parquet is packed, beside Snappy, which hyparquet unpacks by itself. */
export const compressors: Readonly<Compressors> = {
  GZIP: unpacked(gunzipSync),
  BROTLI: unpacked(brotliDecompressSync),
  ZSTD: unpacked(zstdDecompressSync),
};
