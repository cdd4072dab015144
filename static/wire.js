/**
 * A WebSocket that tells of every frame and can be made to fail: given to `createChat` in the browser's place, it is one
 * to the client library in every respect, and every failure reaches the library in the way in which a real one would.
 *
 * What a page cannot do it does not pretend to do: it can neither tear a TCP connection nor stop the kernel from reading.
 * So these faults are simulated on the client's side, and the server sees an orderly close. Each is one socket's: the
 * next connection is a good one.
 */

import { HIDDEN, withoutToken } from './secrets.js';

const bytesOf = (text) => new TextEncoder().encode(text).length;

/**
 * @typedef {{socket: number, direction: 'in' | 'out', text: string, bytes: number, lost?: boolean, raw?: boolean,
 *   again?: boolean, heldMs?: number}} Recorded `lost`: a fault kept it from its reader; `raw`: written by hand; `again`:
 *   the second of two that are the same
 * @param {{record(frame: Recorded): void, ended(socket: number, simulated: boolean): void, token?(): string}} observer `token`: the one that is never told
 */
export function wrapSocket(observer) {
  /** @type {Wired | null} the socket of this moment */ let current = null;
  let sockets = 0;

  class Wired {
    onopen = null;
    onmessage = null;
    onclose = null;
    #inner;
    #number = ++sockets;
    #over = false;
    #silent = false;
    #twice = false;
    #bytesPerSecond = 0; // 0 is as fast as they come
    /** @type {({text: string, at: number} | {code: number, reason: string})[]} */ #held = [];
    #timer = 0;

    constructor(url, protocols) {
      const inner = new WebSocket(url, protocols);
      this.#inner = inner;
      current = this;
      inner.onopen = (event) => this.#over || this.onopen?.(event);
      inner.onmessage = ({ data }) => this.#arrived(String(data));
      inner.onclose = ({ code, reason }) => {
        if (this.#held.length > 0) this.#held.push({ code, reason }); // not before what came before it
        else this.#finish(code, reason);
      };
    }

    get isOpen() { return !this.#over && this.#inner.readyState === WebSocket.OPEN; }
    get readyState() { return this.#over ? WebSocket.CLOSED : this.#inner.readyState; }

    send(text, raw = false) {
      this.#tell('out', text, { lost: this.#silent, raw });
      if (this.#silent) return;
      this.#inner.send(text);
      if (!this.#twice || !/"type":"(message|dm)"/.test(text)) return;
      this.#twice = false;
      this.#tell('out', text, { again: true });
      this.#inner.send(text);
    }

    close(code) {
      if (!this.#over) observer.ended(this.#number, false);
      this.#letGo();
      this.#inner.close(code);
    }

    /** Ends it for the client with this code, at once. What comes from the server after that is lost. */
    end(code, reason) {
      this.#finish(code, reason, true);
      this.#inner.close();
    }

    silence() { this.#silent = true; }
    sendTwice() { this.#twice = true; }

    slow(bytesPerSecond) {
      this.#bytesPerSecond = bytesPerSecond;
      if (bytesPerSecond > 0) return;
      clearTimeout(this.#timer);
      this.#timer = 0;
      while (this.#held.length > 0) this.#next();
    }

    #arrived(text) {
      if (this.#over) return;
      if (this.#silent) return this.#tell('in', text, { lost: true });
      if (this.#bytesPerSecond === 0) return this.#deliver(text);
      this.#held.push({ text, at: performance.now() });
      this.#pace();
    }

    #pace() {
      const [first] = this.#held;
      if (this.#timer || !first) return;
      const ms = 'text' in first ? (bytesOf(first.text) * 1000) / this.#bytesPerSecond : 0;
      this.#timer = setTimeout(() => {
        this.#timer = 0;
        this.#next();
        this.#pace();
      }, ms);
    }

    #next() {
      const first = this.#held.shift();
      if (!first) return;
      if ('text' in first) this.#deliver(first.text, performance.now() - first.at);
      else this.#finish(first.code, first.reason);
    }

    #deliver(text, heldMs) {
      this.#tell('in', text, { heldMs }); // before the client answers it
      this.onmessage?.({ data: text });
    }

    #tell(direction, text, more) {
      const own = observer.token?.() ?? '';
      const told = direction === 'out' ? withoutToken(text, own) : own ? text.replaceAll(own, HIDDEN) : text;
      observer.record({ socket: this.#number, direction, text: told, bytes: bytesOf(text), ...more });
    }

    #finish(code, reason, simulated = false) {
      if (this.#over) return;
      this.#letGo();
      observer.ended(this.#number, simulated);
      this.onclose?.({ code, reason });
    }

    #letGo() {
      this.#over = true;
      this.#held = [];
      clearTimeout(this.#timer);
    }
  }

  const withOpen = (act) => (...given) => {
    if (!current?.isOpen) return false;
    act(current, ...given);
    return true;
  };
  // Each answers whether there was a connection to do it to.
  return {
    Socket: Wired,
    get isOpen() { return Boolean(current?.isOpen); },
    /** Sends what was written by hand, as it is. */
    send: withOpen((socket, text) => socket.send(text, true)),
    /** As a torn cable: no close frame for the client. */
    drop: withOpen((socket) => socket.end(1006, '')),
    /** As the server ends it. */
    end: withOpen((socket, code, reason) => socket.end(code, reason)),
    /** Neither sends nor delivers, and does not say so: a phone that sleeps. */
    silence: withOpen((socket) => socket.silence()),
    /** Delivers so many bytes per second; 0 is the end of it. */
    slow: withOpen((socket, bytesPerSecond) => socket.slow(bytesPerSecond)),
    /** The next `message` or `dm` goes out twice, as after an acknowledgement that was lost. */
    sendTwice: withOpen((socket) => socket.sendTwice()),
  };
}
