import { readFileSync } from 'node:fs';

/** What the kernel counts processor time in, on Linux. */
const tick_ms = 10;

/** The runtime that a program has started: its only child. */
export function childOf(pid: number): number {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  if (child === undefined || child === 0) throw new Error(`process ${pid} has no child`);
  return child;
}

/** Processor time that a process has used in all its threads (ms). */
export function cpu_ms(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * tick_ms;
}

/** Memory that a process has in use now, and the most it ever had (bytes). */
export function memoryOf(pid: number): { now: number; most: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const read = (name: string) => Number(new RegExp(`^${name}:\\s+([0-9]+) kB`, 'm').exec(status)?.[1]) * 1024;
  return { now: read('VmRSS'), most: read('VmHWM') };
}
