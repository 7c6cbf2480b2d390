import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { onPath } from '../../local/engines/apt.ts';

/** The browser of this machine, if it has one. */
export const browser = onPath(['chromium', 'chromium-browser', 'google-chrome']);

type Reply = { id?: number; method?: string; result?: unknown; error?: { message: string } };

export type View = { width: number; height: number; scheme: 'light' | 'dark' };

/** A page of a browser without a window, driven over its debugging protocol. */
export class Chromium {
  readonly #process: ChildProcess;
  readonly #socket: WebSocket;
  readonly #dir: string;
  #calls = 0;
  readonly #replies = new Map<number, (reply: Reply) => void>();
  #loaded: () => void = () => undefined;
  /** Messages of the console and violations of the page's policy. */
  readonly complaints: string[] = [];

  private constructor(process: ChildProcess, socket: WebSocket, dir: string) {
    this.#process = process;
    this.#socket = socket;
    this.#dir = dir;
    socket.addEventListener('message', ({ data }) => {
      const reply = JSON.parse(String(data)) as Reply;
      if (reply.id !== undefined) this.#replies.get(reply.id)?.(reply);
      if (reply.method === 'Page.loadEventFired') this.#loaded();
      if (reply.method === 'Log.entryAdded') this.complaints.push(JSON.stringify(reply));
    });
  }

  static async start(): Promise<Chromium> {
    const dir = await mkdtemp(join(tmpdir(), 'timestore-test-'));
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'];
    const quiet = ['--disable-background-networking', '--disable-component-update', '--hide-scrollbars'];
    const own = ['--remote-debugging-port=0', `--user-data-dir=${dir}`, 'about:blank'];
    const child = spawn(String(browser), [...flags, ...quiet, ...own], { stdio: 'ignore' });
    const port = await readPort(join(dir, 'DevToolsActivePort'));
    const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
      type: string;
      webSocketDebuggerUrl: string;
    }[];
    const target = targets.find(({ type }) => type === 'page');
    const socket = new WebSocket(String(target?.webSocketDebuggerUrl));
    await new Promise((resolve) => socket.addEventListener('open', resolve, { once: true }));
    const started = new Chromium(child, socket, dir);
    await started.call('Page.enable');
    await started.call('Log.enable');
    return started;
  }

  async call(method: string, params: object = {}): Promise<unknown> {
    this.#calls += 1;
    const id = this.#calls;
    const { promise, resolve } = Promise.withResolvers<Reply>();
    this.#replies.set(id, resolve);
    this.#socket.send(JSON.stringify({ id, method, params }));
    const { result, error } = await promise;
    this.#replies.delete(id);
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  async show(url: string, { width, height, scheme }: View): Promise<void> {
    const features = [{ name: 'prefers-color-scheme', value: scheme }];
    await this.call('Emulation.setEmulatedMedia', { features });
    await this.call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 500 });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#loaded = resolve;
    await this.call('Page.navigate', { url });
    await promise;
  }

  /** The value of an expression in the page, after its promise. */
  async evaluate(expression: string): Promise<unknown> {
    const answer = await this.call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    const { result, exceptionDetails } = answer as { result: { value: unknown }; exceptionDetails?: unknown };
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return result.value;
  }

  /** The whole page as PNG. */
  async picture(): Promise<Buffer> {
    const { data } = (await this.call('Page.captureScreenshot', { captureBeyondViewport: true })) as { data: string };
    return Buffer.from(data, 'base64');
  }

  async stop(): Promise<void> {
    this.#socket.close();
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill();
    await ended;
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 10 });
  }
}

async function readPort(file: string): Promise<string> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    try {
      const [port] = readFileSync(file, 'utf8').split('\n');
      if (port !== undefined && port !== '') return port;
    } catch {
      // The browser has not written it yet.
    }
    await delay(100);
  }
  throw new Error('the browser did not start');
}
