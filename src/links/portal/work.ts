// Requests of one peer, worked on: so many at once, the rest in a bounded queue. One pool per peer, so that none waits for
// another's; it outlives the peer's connections, or each reconnect would bring new workers.
import { MAX_PATH_BYTES, MAX_REQUEST_BYTES, MAX_WAITING_REQUESTS } from './limits.ts';

/** Never rejects. */
export type Task = () => Promise<void>;

export class WorkPool {
  workers: number;
  readonly #waiting: Task[] = [];
  #running = 0;

  constructor(workers: number) {
    this.workers = workers;
  }

  /** Takes the task, now or in its turn. False: too many wait already. */
  submit(task: Task): boolean {
    if (this.#running >= this.workers && this.#waiting.length >= MAX_WAITING_REQUESTS) return false;
    this.#waiting.push(task);
    this.#fill();
    return true;
  }

  #fill(): void {
    while (this.#running < this.workers) {
      const task = this.#waiting.shift();
      if (!task) return;
      this.#running++;
      void task().finally(() => {
        this.#running--;
        this.#fill();
      });
    }
  }
}

export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly words: string;
}

const METHODS: ReadonlySet<string> = new Set(['GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'CALL']);

/** Why a request is not even looked at; undefined: it is. */
export function refusalOf(request: { method: string; path: string; body: Buffer }): Refusal | undefined {
  if (!METHODS.has(request.method)) {
    return { status: 405, code: 'bad_method', words: `methods are ${[...METHODS].join(', ')}` };
  }
  if (Buffer.byteLength(request.path) > MAX_PATH_BYTES) {
    return { status: 414, code: 'path_too_long', words: `a path is at most ${MAX_PATH_BYTES} bytes long` };
  }
  if (!isPlainPath(request.path)) {
    return {
      status: 400,
      code: 'bad_path',
      words: 'a path begins with / and holds no .., no //, no control character',
    };
  }
  if (request.body.length <= MAX_REQUEST_BYTES) return undefined;
  return { status: 413, code: 'body_too_large', words: `a request's body is at most ${MAX_REQUEST_BYTES} bytes` };
}

/** Nothing in it that one reader takes for another path than the next: also not percent-encoded. */
function isPlainPath(path: string): boolean {
  const [plain = ''] = path.split('?', 1);
  if (!plain.startsWith('/') || plain.includes('\\') || /[\p{Cc}#]/u.test(path)) return false;
  if (/%(?![0-9a-f]{2})|%2f|%5c|%2e|%25|%[01][0-9a-f]|%7f/i.test(plain)) return false;
  return !plain.includes('//') && !plain.split('/').some((part) => part === '..' || part === '.');
}
