import { Listr } from 'listr2';

/** One thing under way. What `run` resolves with is shown beside its title. */
export type Step = { title: string; run: (note: (text: string) => void) => Promise<string | undefined> };

/** Shows steps that run at the same time, and resolves when all are done or throws the first failure. */
export type ShowSteps = (steps: Step[]) => Promise<void>;

export const showSteps: ShowSteps = (steps) => (process.stdout.isTTY ? showOnTerminal(steps) : showAsLines(steps));

async function showOnTerminal(steps: Step[]): Promise<void> {
  const tasks = steps.map(({ title, run }) => ({
    title,
    task: async (_: unknown, task: { title: string }) => {
      const done = await run((text) => {
        task.title = `${title}  ${text}`;
      });
      task.title = done === undefined ? title : `${title}  ${done}`;
    },
  }));
  // Signals are the start command's: it has engines to stop. So is the one message when a step fails.
  const rendererOptions = { showErrorMessage: false, collapseErrors: false } as const;
  await new Listr(tasks, { concurrent: true, registerSignalListeners: false, rendererOptions }).run();
}

async function showAsLines(steps: Step[]): Promise<void> {
  const line = async ({ title, run }: Step) => {
    const from = performance.now();
    const done = await run((text) => console.log(`… ${title}  ${text}`));
    console.log(`✔ ${title}${done === undefined ? '' : `  ${done}`} (${seconds(performance.now() - from)})`);
  };
  await Promise.all(steps.map(line));
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
