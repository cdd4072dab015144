/** Whether the socket is open, and when the next attempt will be. The seconds are not read aloud, the state is. */

import { useEffect, useState } from 'react';

const WORDS = { idle: 'Not connected', connecting: 'Connecting…', open: 'Connected', reconnecting: 'Reconnecting…', closed: 'Closed' };

export function Connection({ chat }) {
  const seconds = useCountdown(chat.client);
  return (
    <div className="connection" data-state={chat.state}>
      <p role="status">
        {WORDS[chat.state]}
        {chat.state === 'open' && chat.me && <> as <bdi>{chat.me.username}</bdi></>}
      </p>
      {chat.state === 'reconnecting' && seconds > 0 && (
        <>
          <span aria-hidden="true">in {seconds} s</span>
          <button onClick={() => chat.client.reconnectNow()}>Now</button>
        </>
      )}
    </div>
  );
}

/** Seconds until the next attempt, 0 when none is waited for. */
function useCountdown(client) {
  const [retryAt, setRetryAt] = useState(0);
  const [now, setNow] = useState(Date.now);
  useEffect(() => client.on('state', (change) => {
    setRetryAt(change.retryAt ?? 0);
    setNow(Date.now());
  }), [client]);
  useEffect(() => {
    if (!retryAt) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, [retryAt]);
  return Math.max(0, Math.ceil((retryAt - now) / 1000));
}
