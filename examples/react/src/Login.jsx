/** Three ways in: as a guest, with a password, or with a token of your own backend. */

import { useState } from 'react';
import { CHAT_URL, asGuest, logIn, me, register } from './server.js';

export function Login({ why, onToken }) {
  const [problem, setProblem] = useState(why);
  const [busy, setBusy] = useState(false);

  const enter = async (getToken) => {
    setBusy(true);
    setProblem('');
    try {
      onToken(await getToken());
    } catch (error) {
      setProblem(error.message);
      setBusy(false);
    }
  };

  const asSomebody = (event) => {
    event.preventDefault();
    const { username, password } = Object.fromEntries(new FormData(event.target));
    const way = event.nativeEvent.submitter?.value;
    if (way === 'guest') return enter(() => asGuest(username.trim()));
    if (!username || !password) return setProblem('Both a name and a password are needed.');
    return enter(() => (way === 'register' ? register : logIn)(username, password));
  };

  const withToken = (event) => {
    event.preventDefault();
    const token = new FormData(event.target).get('token').trim();
    enter(async () => { await me(token); return token; });
  };

  return (
    <main className="login">
      <h1>Chat</h1>
      <p className="quiet">at <code>{CHAT_URL}</code></p>
      {problem && <p className="problem" role="alert">{problem}</p>}
      <form onSubmit={asSomebody}>
        <label>Name<input name="username" autoComplete="username" maxLength={64} autoFocus /></label>
        <button className="primary" name="way" value="guest" disabled={busy}>Continue as guest</button>
        <label>Password<input name="password" type="password" autoComplete="current-password" /></label>
        <div className="row">
          <button name="way" value="login" disabled={busy}>Log in</button>
          <button name="way" value="register" disabled={busy}>Create account</button>
        </div>
      </form>
      <details>
        <summary>I have a token</summary>
        <form onSubmit={withToken}>
          <label>Token<input name="token" required autoComplete="off" spellCheck={false} /></label>
          <button disabled={busy}>Use this token</button>
        </form>
      </details>
    </main>
  );
}
