/** What is there to be chosen from: rooms, people who are here, conversations of earlier days. Asked for over HTTP, again and again. */

import { useEffect, useState } from 'react';
import { listDms, listPeople, listRooms } from './server.js';

const EVERY_MS = 15_000;

export function useDirectory(token, state) {
  const [directory, setDirectory] = useState({ rooms: [], people: [], dms: [] });
  useEffect(() => {
    if (state !== 'open') return undefined;
    let over = false;
    const ask = async () => {
      if (document.hidden) return;
      // A list that cannot be had leaves what was known.
      const [rooms, people, dms] = await Promise.allSettled([listRooms(token), listPeople(token), listDms(token)]);
      if (over) return;
      setDirectory((before) => ({
        rooms: rooms.value ?? before.rooms, people: people.value ?? before.people, dms: dms.value ?? before.dms,
      }));
    };
    ask();
    const timer = setInterval(ask, EVERY_MS);
    window.addEventListener('focus', ask);
    return () => {
      over = true;
      clearInterval(timer);
      window.removeEventListener('focus', ask);
    };
  }, [token, state]);
  return directory;
}

/** The name of a conversation, as far as anybody has said it. @returns {{key: string, title: string}} */
export function describe({ room, with: peer }, chat, { people, dms }) {
  if (room !== undefined) return { key: `room:${room}`, title: `#${room}` };
  const known = people.find(({ id }) => id === peer) ?? dms.find((dm) => dm.with.id === peer)?.with;
  const said = Object.values({ ...chat.rooms, ...chat.dms }).flatMap(({ messages }) => messages).find(({ fromUser }) => fromUser === peer);
  return { key: `dm:${peer}`, title: known?.username ?? said?.username ?? `User ${peer}` };
}
