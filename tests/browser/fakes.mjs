/** A WebSocket of our own, for tests that say every frame of the server themselves. */

import { createChat } from '../../static/chat-client.js';
import './ends.mjs';

/** Lets everything that is already settled run; a mocked clock stands still meanwhile. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Every socket that was made, in order. @type {FakeSocket[]} */
export const sockets = [];
export const last = () => sockets.at(-1);

const REPLIES = {
  hello: 'welcome', join: 'join_ack', message: 'message_sent', dm: 'dm_sent', room_history: 'room_history', dm_history: 'dm_history',
  leave: 'leave_ack', auth: 'auth_ack', ping: 'pong', resume: 'resume_ack',
};

export class FakeSocket {
  sent = [];
  closed = false;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    sockets.push(this);
  }

  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.closed = true; }

  // The server's side. An answer is to the last request of its type.
  open() { this.onopen?.({}); }
  end(code = 1006, reason = '') { this.onclose?.({ code, reason }); }
  say(frame) { this.onmessage?.({ data: JSON.stringify(frame) }); }
  answer(type, data, more) { this.say({ type: REPLIES[type], data, ref: this.request(type).ref, ...more }); }
  refuse(type, data) { this.say({ type: 'error', message: data.message, data, ref: this.request(type).ref }); }
  message(...numbers) { for (const number of numbers) this.say({ type: 'message', data: message(number) }); }
  dm(id, more) { this.say({ type: 'dm', data: dm(id, more) }); }
  request(type) { return this.sent.findLast((frame) => frame.type === type); }
  requests(type) { return this.sent.filter((frame) => frame.type === type); }
}

export const ME = 7;
export const welcome = (more = {}) => ({ userId: ME, username: 'ann', role: null, server: 'test', epoch: 'e1', lastId: 0, limits: {}, ...more });
export const resumed = (more = {}) => ({ epoch: 'e1', lastId: 0, rooms: [], replayed: 0, complete: true, ...more });

/** Message number `id` of a room in which nothing else has an id, unless told otherwise. */
export const message = (id, more = {}) => ({
  id, seq: id, fromUser: 1, username: 'bob', content: `m${id}`, timestamp: '2026-01-15T12:00:00.123Z', room: 'general', ...more,
});
export const dm = (id, more = {}) => ({ ...message(id), room: undefined, to: ME, ...more });

export const answerWith = (status, body = {}) => async () => ({ status, json: async () => body });

export function client(options = {}) {
  return createChat({ url: 'ws://chat.test/ws', token: 'a.b.c', WebSocket: FakeSocket, fetch: answerWith(200), ...options });
}

/** A client that is connected and has been welcomed. */
export async function connected(options, hello) {
  const chat = client(options);
  const ready = chat.connect();
  await settle();
  last().open();
  last().answer('hello', welcome(hello));
  await ready;
  return chat;
}

export async function joined(chat, room = 'general', { lastId = 0, lastSeq = 0 } = {}) {
  const promise = chat.join(room);
  last().answer('join', { room, status: 'ok', lastId, lastSeq });
  return promise;
}

export function record(chat, type) {
  const seen = [];
  chat.on(type, (data) => seen.push(data));
  return seen;
}

/** A token as the server makes them, except that nothing is signed. */
export function jwt(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'HS256' })}.${part(claims)}.signature`;
}

/** What `sessionStorage` is, in memory. `entries` is what a copy of the tab would get. */
export function memory(entries = []) {
  const items = new Map(entries);
  return {
    items,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => { items.set(key, value); },
    removeItem: (key) => { items.delete(key); },
  };
}
