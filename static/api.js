/** The HTTP requests of the page: who may come in, and under which name. */

/** The server's own words for why not. `field` names the input that they are about. */
export class ApiError extends Error {
  constructor({ code, message, field }) {
    super(message);
    this.code = code;
    this.field = field;
  }
}

/**
 * One request and its answer as it is, whatever it is; rejects when there is none.
 * @param {string} path @param {{method?: string, token?: string, body?: unknown, signal?: AbortSignal}} [options]
 * @returns {Promise<{status: number, body: any}>}
 */
export async function exchange(path, { method = 'GET', token, body, signal } = {}) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: 'no-store', signal });
  return { status: answer.status, body: await answer.json().catch(() => null) };
}

async function request(path, options) {
  let answer;
  try {
    answer = await exchange(path, options);
  } catch {
    throw new ApiError({ code: 'unreachable', message: 'The server cannot be reached. Is it running?' });
  }
  const { status, body } = answer;
  if (status >= 200 && status < 300) return body ?? {};
  throw new ApiError(body?.error ?? { code: 'internal', message: `The server answered ${status} without a reason.` });
}

export const health = () => request('/healthz');
export const me = (token) => request('/api/v1/auth/me', { token });
/** A fresh token for a good one: where the server makes the tokens itself. */
export const refresh = (token) => request('/api/v1/auth/refresh', { method: 'POST', token });
export const guest = (username) => request('/api/v1/auth/guest', { method: 'POST', body: username ? { username } : {} });
export const register = (username, password) => request('/api/v1/auth/register', { method: 'POST', body: { username, password } });
export const login = (username, password) => request('/api/v1/auth/login', { method: 'POST', body: { username, password } });
