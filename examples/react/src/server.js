/** Where the server is, and the backend if there is one, and what is asked of them over HTTP. The rest goes over the socket. */

export const CHAT_URL = import.meta.env.VITE_WS_CHAT_URL || 'ws://localhost:9001';
export const BACKEND_URL = import.meta.env.VITE_BACKEND_URL || 'http://localhost:8080';

/** @param {string} path @param {{at?: string, token?: string, body?: object}} [request] @returns {Promise<any>} */
async function api(path, { at = CHAT_URL, token, body } = {}) {
  const url = new URL(path, at);
  url.protocol = url.protocol.replace('ws', 'http');
  const answer = await fetch(url, {
    method: body ? 'POST' : 'GET',
    headers: { ...(token && { authorization: `Bearer ${token}` }), ...(body && { 'content-type': 'application/json' }) },
    body: body && JSON.stringify(body),
  }).catch(() => { throw new Error(`No server answers at ${url.origin}.`); });
  const json = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(json.error?.message ?? json.error ?? `The server answered ${answer.status}.`);
  return json;
}

const tokenOf = async (answer) => (await answer).token;

export const asGuest = (username) => tokenOf(api('/api/v1/auth/guest', { body: username ? { username } : {} }));
export const logIn = (username, password) => tokenOf(api('/api/v1/auth/login', { body: { username, password } }));
export const register = (username, password) => tokenOf(api('/api/v1/auth/register', { body: { username, password } }));
/** With a token of yours in place of this one, the page is one of your front end. Yours will want a password. */
export const logInAtBackend = (username) => tokenOf(api('/api/v1/auth/login', { at: BACKEND_URL, body: { username } }));
/** Whether the chat server was started with a backend, or a backend's key: then only a backend's tokens let in. */
export const usersAreElsewhere = async () => (await api('/healthz')).mode === 'integrated';
export const me = async (token) => (await api('/api/v1/auth/me', { token })).user;

export const listRooms = async (token) => (await api('/api/v1/rooms', { token })).rooms;
export const listPeople = async (token) => (await api('/api/v1/users?online=true', { token })).users;
export const listDms = async (token) => (await api('/api/v1/dms', { token })).dms;
