/** Ways in: at the backend, if the chat server has one; else as a guest or with a password. And always with a token. */

import { useEffect, useState } from 'react';
import { BACKEND_URL, CHAT_URL, asGuest, logIn, logInAtBackend, me, register, usersAreElsewhere } from './server.js';

export function Login({ why, onToken }) {
  const [problem, setProblem] = useState(why);
  const [busy, setBusy] = useState(false);
  const [elsewhere, setElsewhere] = useState(); // undefined until the server has said it

  const ask = () => usersAreElsewhere().catch(() => false).then(setElsewhere);
  useEffect(() => { ask(); }, []);

  const enter = async (getToken) => {
    setBusy(true);
    setProblem('');
    try {
      onToken(await getToken());
    } catch (error) {
      setProblem(error.message);
      setBusy(false);
      ask(); // it may have been another server, or none, before
    }
  };

  const withToken = (event) => {
    event.preventDefault();
    const token = new FormData(event.target).get('token').trim();
    enter(async () => { await me(token); return token; });
  };

  return (
    <main className="login">
      <h1>Chat</h1>
      <p className="quiet">at <code>{CHAT_URL}</code>{elsewhere && <>, with the users of <code>{BACKEND_URL}</code></>}</p>
      {problem && <p className="problem" role="alert">{problem}</p>}
      {elsewhere === true && <AtBackend busy={busy} enter={enter} />}
      {elsewhere === false && <AtServer busy={busy} enter={enter} onProblem={setProblem} />}
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

function AtBackend({ busy, enter }) {
  const submit = (event) => {
    event.preventDefault();
    const name = new FormData(event.target).get('username').trim();
    enter(() => logInAtBackend(name));
  };
  return (
    <form onSubmit={submit}>
      <label>Name<input name="username" required autoComplete="username" maxLength={64} autoFocus /></label>
      <button className="primary" disabled={busy}>Log in</button>
    </form>
  );
}

function AtServer({ busy, enter, onProblem }) {
  const submit = (event) => {
    event.preventDefault();
    const { username, password } = Object.fromEntries(new FormData(event.target));
    const way = event.nativeEvent.submitter?.value;
    if (way === 'guest') return enter(() => asGuest(username.trim()));
    if (!username || !password) return onProblem('Both a name and a password are needed.');
    return enter(() => (way === 'register' ? register : logIn)(username, password));
  };
  return (
    <form onSubmit={submit}>
      <label>Name<input name="username" autoComplete="username" maxLength={64} autoFocus /></label>
      <button className="primary" name="way" value="guest" disabled={busy}>Continue as guest</button>
      <label>Password<input name="password" type="password" autoComplete="current-password" /></label>
      <div className="row">
        <button name="way" value="login" disabled={busy}>Log in</button>
        <button name="way" value="register" disabled={busy}>Create account</button>
      </div>
    </form>
  );
}
