import type { Reporter, TestModule, TestRunEndReason } from 'vitest/node';

/** Ends a run with one line that people and scripts can read: `N passed, N failed`. */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, errors: ReadonlyArray<unknown>, _reason: TestRunEndReason): void {
    const states = modules.flatMap((module) => [...module.children.allTests()].map((test) => test.result().state));
    const passed = states.filter((state) => state === 'passed').length;
    // A file that cannot be loaded and an error outside of a test count too: they are no less wrong.
    const broken = modules.filter((module) => module.errors().length > 0).length + errors.length;
    const failed = states.filter((state) => state === 'failed' || state === 'pending').length + broken;
    process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
  }
}
