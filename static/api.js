/** The HTTP requests of the page: who may come in, and under which name. */

/** The server's own words for why not. `field` names the input that they are about. */
export class ApiError extends Error {
  constructor({ code, message, field }) {
    super(message);
    this.code = code;
    this.field = field;
  }
}

async function request(path, { method = 'GET', token, body } = {}) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers['content-type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: 'no-store' });
  } catch {
    throw new ApiError({ code: 'unreachable', message: 'The server cannot be reached. Is it running?' });
  }
  const data = await answer.json().catch(() => ({}));
  if (answer.ok) return data;
  throw new ApiError(data.error ?? { code: 'internal', message: `The server answered ${answer.status} without a reason.` });
}

export const health = () => request('/healthz');
export const me = (token) => request('/api/v1/auth/me', { token });
export const guest = (username) => request('/api/v1/auth/guest', { method: 'POST', body: username ? { username } : {} });
export const register = (username, password) => request('/api/v1/auth/register', { method: 'POST', body: { username, password } });
export const login = (username, password) => request('/api/v1/auth/login', { method: 'POST', body: { username, password } });
