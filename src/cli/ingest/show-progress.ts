import { createLogUpdate } from 'log-update';
import type { Io } from '../io.ts';
import type { Progress } from './load.ts';

/** Update intervals. */
const interval_ms = { terminal: 100, log: 10_000 };
const bar_chars = 28;

export type Shown = { changed(): void; end(): void };

/** A progress bar on a terminal, a line every 10 s in a log. */
export function showProgress(io: Io, progress: Progress, bytes: number | undefined): Shown {
  return showStatus(io, (seconds, isTerminal) =>
    withWait(renderLine(progress, bytes, seconds, isTerminal), progress.waits, isTerminal),
  );
}

/** A line with the reason of a wait: below it on a terminal, in the line in a log. */
export const withWait = (line: string, why: string | undefined, isTerminal: boolean): string =>
  why === undefined ? line : `${line}${isTerminal ? '\n' : ''}  waits: ${why}`;

/**
 * A status: updated in place on a terminal, a line every 10 s in a log.
 *
 * @param text renders the status
 */
export function showStatus({ stderr }: Io, text: (seconds: number, isTerminal: boolean) => string): Shown {
  const from = performance.now();
  const isTerminal = stderr.isTTY === true;
  const update = isTerminal ? createLogUpdate(stderr) : undefined;
  const every = isTerminal ? interval_ms.terminal : interval_ms.log;
  let shownAt = isTerminal ? 0 : from;
  const show = () => {
    const shown = text((performance.now() - from) / 1000, isTerminal);
    if (update === undefined) stderr.write(`${shown}\n`);
    else update(shown);
  };
  // The elapsed time changes even without progress.
  const timer = setInterval(() => {
    if (performance.now() - shownAt < every) return;
    shownAt = performance.now();
    show();
  }, interval_ms.terminal);
  timer.unref();
  return {
    changed() {
      if (performance.now() - shownAt < every) return;
      shownAt = performance.now();
      show();
    },
    end() {
      clearInterval(timer);
      if (update === undefined) return;
      show();
      update.done();
    },
  };
}

/** `share` is from 0 to 1. */
export function renderBar(share: number, isTerminal: boolean): string {
  const percent = `${String(Math.floor(share * 100)).padStart(3)} %`;
  const full = Math.round(share * bar_chars);
  return isTerminal ? `${'█'.repeat(full)}${'░'.repeat(bar_chars - full)} ${percent}` : percent;
}

function renderLine(progress: Progress, bytes: number | undefined, seconds: number, isTerminal: boolean): string {
  const { accepted, before, bytesRead, file, waits } = progress;
  const rate = seconds > 0 ? accepted / seconds : 0;
  const rows = rowCount(accepted + before);
  const speed = `${whole(rate)} rows/s`;
  const where = file === '-' ? 'standard input' : file;
  if (bytes === undefined) return `${rows}  ${speed}  ${size(bytesRead)} read  ${where}`;
  const share = bytes === 0 ? 1 : Math.min(1, bytesRead / bytes);
  const remaining =
    share > 0 && share < 1 && accepted > 0 && waits === undefined
      ? `  ${clock((seconds * (1 - share)) / share)} left`
      : '';
  return `${renderBar(share, isTerminal)}  ${rows}  ${speed}${remaining}  ${where}`;
}

const numbers = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

export const whole = (value: number): string => numbers.format(value);

export const rowCount = (rows: number): string => `${whole(rows)} ${rows === 1 ? 'row' : 'rows'}`;

export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [value, unit] = [bytes, 0];
  while (value >= 1_000 && unit < units.length - 1) [value, unit] = [value / 1_000, unit + 1];
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function clock(seconds: number): string {
  const [minutes, rest] = [Math.floor(seconds / 60), Math.ceil(seconds % 60)];
  return `${minutes}:${String(Math.min(59, rest)).padStart(2, '0')}`;
}
