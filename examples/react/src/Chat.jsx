/** One person's chat: which conversations there are, which one is looked at, and what the socket says about itself. */

import { useEffect, useRef, useState } from 'react';
import { useChat } from 'chat-server-client/react';
import { Connection } from './Connection.jsx';
import { Conversation } from './Conversation.jsx';
import { Sidebar } from './Sidebar.jsx';
import { CHAT_URL } from './server.js';
import { describe, useDirectory } from './directory.js';

const ROOMS_KEY = 'chat-rooms';
const keptRooms = () => JSON.parse(sessionStorage.getItem(ROOMS_KEY) ?? '["general"]');

export function Chat({ token, onLeave }) {
  const [rooms, setRooms] = useState(keptRooms);
  const chat = useChat({ url: CHAT_URL, token, rooms, storage: sessionStorage });
  const directory = useDirectory(token, chat.state);
  const [place, setPlace] = useState({ room: rooms[0] });
  const [listShown, showList] = useState(false); // on a narrow screen there is room for one of the two
  const drafts = useRef(new Map());
  const { key, title } = describe(place, chat, directory);
  const box = useFocus(key, listShown);

  useConsole(chat.client);
  useEffect(() => sessionStorage.setItem(ROOMS_KEY, JSON.stringify(rooms)), [rooms]);
  useEffect(() => {
    if (chat.state === 'closed' && chat.error) leave(chat.error.message);
  });

  function leave(reason) {
    sessionStorage.removeItem(ROOMS_KEY);
    onLeave(reason);
  }

  function open(next) {
    if (next.room !== undefined) setRooms((before) => (before.includes(next.room) ? before : [...before, next.room]));
    else if (!chat.dms[next.with]) chat.loadEarlier(next); // which opens it
    setPlace(next);
    showList(false);
  }

  function leaveRoom(room) {
    const rest = rooms.filter((name) => name !== room);
    setRooms(rest);
    setPlace({ room: rest[0] });
  }

  return (
    <div className="chat" ref={box} data-list={listShown}>
      <header>
        <h1>Chat</h1>
        <Connection chat={chat} />
        <button onClick={() => leave('')}>Log out</button>
      </header>
      <Sidebar chat={chat} directory={directory} rooms={rooms} current={key} onOpen={open} />
      <Conversation
        key={key} chat={chat} place={place} title={title} drafts={drafts.current}
        onOpen={open} onList={() => showList(true)}
        onLeave={place.room !== undefined && rooms.length > 1 ? () => leaveRoom(place.room) : undefined}
      />
    </div>
  );
}

/** Whoever goes somewhere by keyboard or screen reader is there, and not where they came from. */
function useFocus(key, listShown) {
  const box = useRef(null);
  const before = useRef(`${key} ${listShown}`);
  useEffect(() => {
    const now = `${key} ${listShown}`;
    if (now !== before.current) box.current.querySelector(listShown ? 'nav button' : 'main h2').focus();
    before.current = now;
  }, [key, listShown]);
  return box;
}

/** For whoever opens the browser's console to see whether it works. */
function useConsole(client) {
  useEffect(() => {
    const stops = [
      client.on('welcome', ({ server }) => console.info(`[Rust Chat WebSocket] Connected to the chat server (${server})`)),
      client.on('state', ({ state, retryAt, reason }) => {
        if (retryAt) console.info(`[Rust Chat WebSocket] Reconnecting${reason ? `: ${reason}` : ''}`);
        if (state === 'closed') console.info('[Rust Chat WebSocket] Closed');
      }),
      client.on('error', ({ message }) => console.warn(`[Rust Chat WebSocket] Error: ${message}`)),
    ];
    return () => stops.forEach((stop) => stop());
  }, [client]);
}
