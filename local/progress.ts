import { Listr } from 'listr2';

/** A step in progress. Its title is shown with the text that `run` resolves with. */
export type Step = { title: string; run: (note: (text: string) => void) => Promise<string | undefined> };

/** Runs steps at the same time and shows them. Resolves when all are done, throws the first failure. */
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
  // The start command handles signals, because it has to stop the engines, and prints the message of a failed step.
  const rendererOptions = { showErrorMessage: false, collapseErrors: false } as const;
  await new Listr(tasks, { concurrent: true, registerSignalListeners: false, rendererOptions }).run();
}

async function showAsLines(steps: Step[]): Promise<void> {
  const printStep = async ({ title, run }: Step) => {
    const startedAt = performance.now();
    const done = await run((text) => console.log(`… ${title}  ${text}`));
    console.log(`✔ ${title}${done === undefined ? '' : `  ${done}`} (${seconds(performance.now() - startedAt)})`);
  };
  await Promise.all(steps.map(printStep));
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
