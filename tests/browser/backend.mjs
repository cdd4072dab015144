/** The example that plays a backend, as `cargo build --example backend` makes it, and what it prints. */

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const BINARY = fileURLToPath(new URL('../../target/debug/examples/backend', import.meta.url));
const PATIENCE_MS = 20_000;

export class Backend {
  #process;
  #lines = [];
  #looks = new Set();

  static async start() {
    const backend = new Backend();
    backend.#process = spawn(BINARY, ['--bind', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
    process.once('exit', () => backend.stop());
    backend.#process.once('error', () => console.error(`there is no ${BINARY}: cargo build --example backend`));
    createInterface({ input: backend.#process.stdout }).on('line', (line) => {
      backend.#lines.push(line);
      for (const look of backend.#looks) look();
    });
    backend.url = (await backend.says('ready addr=')).replace('ready addr=', 'http://');
    return backend;
  }

  /** The first line with this in it, printed before or soon. */
  says(part) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const line = this.#lines.find((printed) => printed.includes(part));
        if (line === undefined) return;
        this.#looks.delete(look);
        clearTimeout(timer);
        resolve(line);
      };
      const timer = setTimeout(() => reject(new Error(`the backend did not say "${part}" but:\n${this.#lines.join('\n')}`)), PATIENCE_MS);
      this.#looks.add(look);
      look();
    });
  }

  stop() { this.#process.kill('SIGKILL'); }
}
