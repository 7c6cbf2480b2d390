// The package as a whole compiles WebAssembly when it is loaded, which Workers do not let it.
export { decompressLz4, decompressLz4Raw } from 'hyparquet-compressors/src/lz4.js';
