// The package's main module compiles WebAssembly when it is loaded, which Workers do not allow.
export { decompressLz4, decompressLz4Raw } from 'hyparquet-compressors/src/lz4.js';
