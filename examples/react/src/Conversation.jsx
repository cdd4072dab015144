/** The messages of one conversation, those that are not stored yet, and where the next one is written. */

import { useEffect, useLayoutEffect, useRef } from 'react';
import { Composer } from './Composer.jsx';

const AT_END_PX = 48;
const NOTHING = { messages: [], hasMore: false, unread: 0, status: 'new', error: null };

export function Conversation({ chat, place, title, drafts, onOpen, onList, onLeave }) {
  const isRoom = place.room !== undefined;
  const { messages, hasMore, unread, status, error } = (isRoom ? chat.rooms[place.room] : chat.dms[place.with]) ?? NOTHING;
  const elsewhere = Object.values({ ...chat.rooms, ...chat.dms }).reduce((sum, talk) => sum + talk.unread, -unread);
  const outbox = chat.outbox.filter(({ room, to }) => (isRoom ? room === place.room : to === place.with));
  const scroller = useScroll(messages, outbox.length);
  useEffect(() => {
    if (unread > 0 && !document.hidden) chat.markRead(place);
  });

  const send = (text) => {
    scroller.toEnd();
    return isRoom ? chat.send(place.room, text) : chat.dm(place.with, text);
  };

  return (
    <main>
      <div className="title">
        <button className="narrow" onClick={onList}>
          Conversations
          {elsewhere > 0 && <span className="badge">{elsewhere}<span className="unseen"> unread</span></span>}
        </button>
        <h2 tabIndex={-1}><bdi>{title}</bdi></h2>
        {onLeave && <button onClick={onLeave}>Leave</button>}
      </div>
      <div className="scroller" ref={scroller.ref} onScroll={scroller.onScroll} tabIndex={0} role="log" aria-label={`Messages of ${title}`}>
        {hasMore && <button className="earlier" onClick={() => chat.loadEarlier(place)}>Earlier messages</button>}
        {error && <p className="problem">{error.message}</p>}
        {status === 'ready' && messages.length + outbox.length === 0 && <p className="quiet empty">Nothing was said yet.</p>}
        <ol className="messages">
          {messages.map((message) => <Message key={message.id} message={message} me={chat.me} onOpen={onOpen} />)}
          {outbox.map((entry) => <Unstored key={entry.nonce} entry={entry} chat={chat} />)}
        </ol>
      </div>
      <Composer label={`Message to ${title}`} drafts={drafts} draft={isRoom ? `room:${place.room}` : `dm:${place.with}`} onSend={send} />
    </main>
  );
}

function Message({ message: { fromUser, username, timestamp, content }, me, onOpen }) {
  const time = new Date(timestamp);
  const mine = fromUser === me?.id;
  return (
    <li className={mine ? 'message mine' : 'message'}>
      {mine
        ? <span className="name"><bdi>{username}</bdi></span>
        : <button className="name" title="Write to them" onClick={() => onOpen({ with: fromUser })}><bdi>{username}</bdi></button>}
      <time dateTime={timestamp} title={time.toLocaleString()}>{time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })}</time>
      <p className="content" dir="auto">{content}</p>
    </li>
  );
}

function Unstored({ entry: { nonce, content, status, error }, chat }) {
  return (
    <li className="message mine unstored" data-status={status}>
      <p className="content" dir="auto">{content}</p>
      {status === 'waiting' ? <p className="quiet">{chat.state === 'open' ? 'Sending…' : 'Waiting for the connection…'}</p> : (
        <p className="problem">
          Not sent: {error?.message}
          <button onClick={() => chat.retry(nonce)}>Try again</button>
          <button onClick={() => chat.discard(nonce)}>Discard</button>
        </p>
      )}
    </li>
  );
}

/** Stays at the end while one is there, and in the same place when earlier messages come above it. */
function useScroll(messages, waiting) {
  const ref = useRef(null);
  const following = useRef(true);
  const before = useRef({ first: undefined, height: 0 });
  const first = messages[0]?.id;

  useLayoutEffect(() => {
    const { current: box } = ref;
    if (following.current) box.scrollTop = box.scrollHeight;
    else if (first !== before.current.first) box.scrollTop += box.scrollHeight - before.current.height;
    before.current = { first, height: box.scrollHeight };
  }, [messages, waiting, first]);

  return {
    ref,
    onScroll: ({ currentTarget: box }) => {
      following.current = box.scrollHeight - box.scrollTop - box.clientHeight < AT_END_PX;
    },
    toEnd: () => { following.current = true; },
  };
}
