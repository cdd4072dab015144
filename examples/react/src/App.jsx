/** Who is here: nobody yet, or somebody with a token. The token lives as long as the tab. */

import { useState } from 'react';
import { Chat } from './Chat.jsx';
import { Login } from './Login.jsx';

const KEY = 'chat-token';

export function App() {
  const [token, setToken] = useState(() => sessionStorage.getItem(KEY));
  const [why, setWhy] = useState('');

  const enter = (newToken) => {
    sessionStorage.setItem(KEY, newToken);
    setWhy('');
    setToken(newToken);
  };
  const leave = (reason = '') => {
    sessionStorage.removeItem(KEY);
    setWhy(reason);
    setToken(null);
  };
  return token ? <Chat key={token} token={token} onLeave={leave} /> : <Login why={why} onToken={enter} />;
}
