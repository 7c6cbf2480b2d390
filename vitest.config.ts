import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { textModule } from './local/text-files.ts';

const textModules = { name: 'text-modules', enforce: 'pre' as const, load: textModule };

/** Projects whose files last longest. */
const longest = ['start', 'cli', 'faults', 'model', 'cluster'];

/** The longest files begin first, so that no worker ends alone with one of them. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ project }: TestSpecification) => {
      const found = longest.indexOf(project.name);
      return found < 0 ? longest.length : found;
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

/** Tests in a folder of test/. */
const project = (name: string, options: { include?: string[]; exclude?: string[]; globalSetup?: string[] } = {}) => ({
  extends: true as const,
  test: { name, include: [`test/${name}/**/*.test.ts`], ...options },
});

/** Tests over one stack of engines, which the projects of a run share. */
const overEngines = { globalSetup: ['test/global-setup.ts'] };

export default defineConfig({
  plugins: [textModules],
  test: {
    projects: [
      project('unit'),
      project('model', { include: ['test/faults/model/*.test.ts'] }),
      project('integration', overEngines),
      project('faults', { ...overEngines, exclude: ['test/faults/model/**'] }),
      project('cli', overEngines),
      project('browser', overEngines),
      project('docs', overEngines),
      // These start the engines that they need.
      project('cluster'),
      project('start'),
      project('local'),
    ],
    globalSetup: ['test/run-folder.ts'],
    reporters: ['default', './test/closing-line.ts'],
    // On two cores beside the engines: a file waits for leases, polls and programs for about a third of its time.
    maxWorkers: 3,
    maxConcurrency: 3,
    sequence: { sequencer: LongestFirst },
    // For a test that hangs: a shared machine may give a third of its speed.
    expect: { poll: { timeout: 60_000 } },
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
