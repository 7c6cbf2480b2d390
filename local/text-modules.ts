/**
 * Lets Node.js import `.sql`, `.lua` and `.md` files as text, as the Worker's bundler does. Loaded with `--import`.
 *
 * @module
 */
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { textModule } from './text-files.ts';

registerHooks({
  load(url, context, nextLoad) {
    const source = url.startsWith('file:') ? textModule(fileURLToPath(url)) : undefined;
    return source === undefined ? nextLoad(url, context) : { format: 'module', source, shortCircuit: true };
  },
});
